"""Loading and storing pre-trained weights safely: torchvision's by download, the course's own from files.

The course's own are safetensors, a table of numbers that cannot run code. Their SHA-256 stands in SHA256SUMS
beside them, so `sha256sum -c SHA256SUMS` checks them too.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import pickle
import re
import shlex
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from textwrap import shorten

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from elfw_helpers.utils.errors import WeightsError
from elfw_helpers.utils.files import write_atomically

CHECKSUMS = "SHA256SUMS"
# Seconds without an answer after which a server counts as unreachable.
NETWORK_TIMEOUT = 20


def load_torchvision(network: nn.Module, weights: WeightsEnum, alternative: str) -> None:
    """Load torchvision's weights into their whole network, from torch's cache or by download into it.

    Raises:
        WeightsError: out of reach, or not the file that its name promises. The alternative begins its advice.
    """
    name = Path(weights.url).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    advice = (
        f"{alternative}, or fetch the file on another machine and put it, under the name {name}, "
        f"into {cached.parent}"
    )
    if cached.exists() and not matches_name(cached):
        raise WeightsError(f"{cached} is damaged: delete it. {advice}")
    try:
        # torch prints the path of the download to stdout, where a notebook would store it.
        with network_timeout(), redirect_stdout(sys.stderr):
            # weights_only: nothing in a checkpoint may be executed.
            state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        network.load_state_dict(state)
    except (OSError, http.client.HTTPException, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        # For another network's weights torch lists every tensor, hundreds of them.
        reason = shorten(str(error), 300, placeholder=" ...")
        raise WeightsError(f"cannot use the weights at {weights.url}: {reason}. {advice}") from error


def matches_name(file: Path) -> bool:
    """Say whether a file's SHA-256 begins with the hash in its name, torch's `name-HASH.pth`."""
    promised = re.search(r"-([0-9a-f]{8,})\.", file.name)
    return promised is not None and hashlib.sha256(file.read_bytes()).hexdigest().startswith(promised[1])


@contextmanager
def network_timeout() -> Iterator[None]:
    """Give up on a silent server, for which torch's download would wait minutes."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_weights(network: nn.Module, file: Path) -> None:
    """Load a file of `store_weights` into a network; its last layer `fc`, if it has one, stays as it is.

    Raises:
        WeightsError: the file is missing, damaged, no safetensors, or of another architecture.
    """
    stored, _ = read_weights(file, "Make it: elfw pretrain (it takes a while)", advise_restoring(file))
    cure = "Take the file of this network, or make it with `elfw pretrain`"
    check_tensors(stored, without_head(network), file, cure)
    # Not strict, for `fc` alone: check_tensors has compared everything else.
    network.load_state_dict(stored, strict=False)


def read_weights(
    file: Path, if_missing: str, if_damaged: str, needs_checksum: bool = True
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the tensors of a safetensors file by name, floats as float32, and the file's metadata.

    Raises:
        WeightsError: the file cannot be read, differs from its checksum (or has none but needs one), or holds
            no finite tensors. Its last sentence is `if_missing` or `if_damaged`.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{file}: no such file. {if_missing}") from None
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}). {if_missing}") from None
    found, promised = hashlib.sha256(content).hexdigest(), read_checksums(file.parent).get(file.name)
    if promised is None and needs_checksum:
        sums = file.with_name(CHECKSUMS)
        raise WeightsError(f"{sums} holds no checksum of {file.name}. {advise_restoring(sums)}")
    if promised not in (None, found):
        text = f"{file} is damaged: its SHA-256 is {found}, and {CHECKSUMS} promises {promised}"
        raise WeightsError(f"{text}. {if_damaged}")
    try:
        stored = load(content).items()
    except SafetensorError as error:
        raise WeightsError(f"{file} is no safetensors file ({error}). {if_damaged}") from error
    tensors = {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in stored}
    if not all(tensor.isfinite().all() for tensor in tensors.values()):
        raise WeightsError(f"{file} holds weights that are not finite numbers. {if_damaged}")
    # Eight bytes of length, then JSON of that length (https://huggingface.co/docs/safetensors). The library
    # reads metadata from files only, and the file may have changed since its checksum was compared.
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    return tensors, header.get("__metadata__", {})


def advise_restoring(file: Path) -> str:
    """Return the sentence that says how to get a committed file back."""
    return f"Restore it: git checkout -- {shlex.quote(str(file))}"


def check_tensors(stored: dict[str, Tensor], needed: dict[str, Tensor], file: Path, cure: str) -> None:
    """Raise WeightsError, ending in the cure, unless the stored names and shapes are the needed ones."""
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    wanted = {name: tuple(tensor.shape) for name, tensor in needed.items()}
    wrong = sorted(dict(found.items() ^ wanted.items()))
    if wrong:
        name = wrong[0]
        raise WeightsError(
            f"{file} holds the weights of another network: {len(wrong)} tensors are missing, left over or of "
            f"another shape, first {name} with {found.get(name, 'nothing')} in place of "
            f"{wanted.get(name, 'nothing')}. {cure}"
        )


def without_head(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights and statistics by name, without those of its last layer `fc`."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}


def store_weights(network: nn.Module, file: Path) -> None:
    """Write all of a network's weights but those of `fc`, as `store_tensors` does."""
    store_tensors(without_head(network), file)


def store_tensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as float16 safetensors, and their checksum to the SHA256SUMS beside them.

    float16 halves the file, and rounds a weight by at most 0.05 %.

    Raises:
        WeightsError: a value is not finite in float16.
    """
    halves = {}
    for name, tensor in tensors.items():
        half = tensor.half() if tensor.is_floating_point() else tensor
        if not half.isfinite().all():
            raise WeightsError(f"{file} was not written: {name} has values that are not finite in float16")
        halves[name] = half.detach().cpu().contiguous()
    file.parent.mkdir(parents=True, exist_ok=True)
    content = save(halves, metadata)
    sums = file.with_name(CHECKSUMS)
    # All other lines stay as they are, whatever they say: the folder may be anyone's.
    lines = [line for line in read_lines(sums) if line[66:] != file.name]
    lines.append(f"{hashlib.sha256(content).hexdigest()}  {file.name}")
    write_atomically(file, content)
    text = "".join(f"{line}\n" for line in sorted(lines, key=lambda line: line[66:]))
    write_atomically(sums, text.encode(errors="surrogateescape"))


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file that a folder's SHA256SUMS lists, by name; empty without that file."""
    # A line of sha256sum: the checksum, a space, a space or (for binary) an asterisk, the name.
    return {line[66:]: line[:64] for line in read_lines(folder / CHECKSUMS)}


def read_lines(sums: Path) -> list[str]:
    """Return the lines of a SHA256SUMS, none where there is no such file; names may be in any encoding."""
    return sums.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if sums.exists() else []
