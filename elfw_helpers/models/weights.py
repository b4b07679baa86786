"""Pre-trained weights: torchvision's, and the course's own from rendered faces.

The course's own lie in `data/weights` as safetensors: a plain table of numbers, which cannot run code.
Their SHA-256 stands in SHA256SUMS beside them, so `sha256sum -c SHA256SUMS` checks them too.
"""

from __future__ import annotations

import hashlib
import http.client
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
# A server that says nothing for this long counts as out of reach, in seconds.
NETWORK_TIMEOUT = 20
# Of what torch says about a file, in characters.
LONGEST_REASON = 300


def load_torchvision(network: nn.Module, weights: WeightsEnum, alternative: str) -> None:
    """Give a network torchvision's weights, from torch's cache or, the first time, by download into it.

    Args:
        network: the architecture that the weights are of, last layer included.
        weights: which ones.
        alternative: what else the user can do, for the error, as the beginning of a sentence.

    Raises:
        WeightsError: out of reach, or not the file that its name promises; says what to do.
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
        # torch says on stdout where on this machine it puts the file: of no interest in a stored notebook.
        with network_timeout(), redirect_stdout(sys.stderr):
            # weights_only: a checkpoint is data; nothing in it may be executed.
            state = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
        network.load_state_dict(state)
    except (OSError, http.client.HTTPException, RuntimeError, TypeError, pickle.UnpicklingError) as error:
        # For another network's weights torch lists every tensor, hundreds of them.
        reason = shorten(str(error), LONGEST_REASON, placeholder=" ...")
        raise WeightsError(f"cannot use the weights at {weights.url}: {reason}. {advice}") from error


def matches_name(file: Path) -> bool:
    """Say whether a file's SHA-256 begins as its name, torch's `name-HASH.pth`, says."""
    promised = re.search(r"-([0-9a-f]{8,})\.", file.name)
    with file.open("rb") as stream:
        found = hashlib.sha256()
        while block := stream.read(1 << 20):
            found.update(block)
    return promised is not None and found.hexdigest().startswith(promised[1])


@contextmanager
def network_timeout() -> Iterator[None]:
    """Give up on a silent server; torch's download waits for as long as the system does, minutes or more."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(NETWORK_TIMEOUT)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def load_rendered(network: nn.Module, file: Path) -> None:
    """Give a network the weights in one of our files, as float32; its last layer `fc` stays as it is.

    Args:
        network: the architecture that the file was stored from, with or without `fc`.
        file: written by `store_weights`.

    Raises:
        WeightsError: the file is missing, damaged, no safetensors, or of another architecture.
    """
    stored = read_tensors(read_verified(file), file, advise_restoring(file))
    cure = "Take the file of this network, or make it with `elfw pretrain`"
    check_tensors(stored, without_head(network), file, cure)
    state = {name: convert(tensor, torch.float32) for name, tensor in stored.items()}
    # Lenient only towards `fc`: check_tensors has compared everything else.
    network.load_state_dict(state, strict=False)


def read_verified(file: Path) -> bytes:
    """Return the content of the course's own file once its SHA-256 is the one that SHA256SUMS names.

    Raises:
        WeightsError: there is no such file, no checksum of it, or another one.
    """
    content = read_content(file, "Make it: elfw pretrain (it takes a while)")
    check_checksum(file, content, advise_restoring(file))
    return content


def read_content(file: Path, cure: str) -> bytes:
    """Return a file's content, or raise WeightsError, ending in the cure, when there is none to be had."""
    try:
        return file.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{file}: no such file. {cure}") from None
    except OSError as error:
        raise WeightsError(f"{file} cannot be read ({error.strerror}). {cure}") from None


def check_checksum(file: Path, content: bytes, cure: str) -> None:
    """Raise WeightsError unless the SHA-256 of a file's content is the one that SHA256SUMS names."""
    promised = read_checksums(file.parent).get(file.name)
    if promised is None:
        sums = file.with_name(CHECKSUMS)
        raise WeightsError(f"{sums} holds no checksum of {file.name}. {advise_restoring(sums)}")
    found = hashlib.sha256(content).hexdigest()
    if found != promised:
        text = f"{file} is damaged: its SHA-256 is {found}, and {CHECKSUMS} promises {promised}"
        raise WeightsError(f"{text}. {cure}")


def read_tensors(content: bytes, file: Path, cure: str) -> dict[str, Tensor]:
    """Return the tensors in the content of a safetensors file, by name; WeightsError if it is none."""
    try:
        return load(content)
    except SafetensorError as error:
        raise WeightsError(f"{file} is no safetensors file ({error}). {cure}") from error


def advise_restoring(file: Path) -> str:
    """Return the sentence that says how to get the committed file back."""
    return f"Restore it: git checkout -- {shlex.quote(str(file))}"


def check_tensors(stored: dict[str, Tensor], needed: dict[str, Tensor], file: Path, cure: str) -> None:
    """Raise WeightsError, ending in the cure, unless stored names and shapes are those that are needed."""
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


def convert(tensor: Tensor, kind: torch.dtype) -> Tensor:
    """Return a tensor on the CPU in another floating-point type; counts stay whole numbers."""
    return tensor.detach().to("cpu", kind if tensor.is_floating_point() else tensor.dtype).contiguous()


def store_weights(network: nn.Module, file: Path) -> None:
    """Write a network's weights, all but `fc`, as float16 safetensors, and their checksum to SHA256SUMS.

    Raises:
        WeightsError: a weight is not finite in float16.
    """
    store_tensors(without_head(network), file)


def store_tensors(tensors: dict[str, Tensor], file: Path, metadata: dict[str, str] | None = None) -> None:
    """Write tensors as float16 safetensors, and their checksum to the SHA256SUMS beside them.

    float16 halves the file, and rounds a weight by at most 0.05 %.

    Raises:
        WeightsError: a value is not finite in float16.
    """
    halves = {name: convert(tensor, torch.float16) for name, tensor in tensors.items()}
    for name, tensor in halves.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{file} was not written: {name} has values that are not finite in float16")
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
    """Return the SHA-256 of each file by name, from a folder's SHA256SUMS; nothing where there is none."""
    # sha256sum's lines: the checksum, a space, a space or (for binary) an asterisk, the name.
    return {line[66:]: line[:64] for line in read_lines(folder / CHECKSUMS)}


def read_lines(sums: Path) -> list[str]:
    """Return the lines of a SHA256SUMS, none where there is no such file; a name may be in any encoding."""
    return sums.read_text(encoding="utf-8", errors="surrogateescape").splitlines() if sums.exists() else []
