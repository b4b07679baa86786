"""Pre-trained weights: torchvision's from ImageNet, and the course's own from rendered faces.

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

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn
from torchvision.models import WeightsEnum

from elfw_helpers.checkpoints import write_atomically
from elfw_helpers.errors import WeightsError

CHECKSUMS = "SHA256SUMS"
# A server that says nothing for this long counts as out of reach, in seconds.
NETWORK_TIMEOUT = 20


def load_imagenet(network: nn.Module, weights: WeightsEnum) -> None:
    """Give a network torchvision's weights, from torch's cache or, the first time, by download into it.

    Raises:
        WeightsError: out of reach, or not the file that its name promises; says what to do.
    """
    name = Path(weights.url).name
    cached = Path(torch.hub.get_dir()) / "checkpoints" / name
    advice = (
        "Take weights='rendered', which are in the project, train from scratch with weights=None, or fetch "
        f"the file on another machine and put it, under the name {name}, into {cached.parent}"
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
        raise WeightsError(f"cannot use the weights at {weights.url}: {error}. {advice}") from error


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
    content = read_verified(file)
    try:
        stored = load(content)
    except SafetensorError as error:
        raise WeightsError(f"{file} is no safetensors file ({error}). {advise_restoring(file)}") from error
    check_architecture(network, stored, file)
    state = {name: convert(tensor, torch.float32) for name, tensor in stored.items()}
    # Lenient only towards `fc`: check_architecture has compared everything else.
    network.load_state_dict(state, strict=False)


def read_verified(file: Path) -> bytes:
    """Return a file's content once its SHA-256 is the one that SHA256SUMS names.

    Raises:
        WeightsError: there is no such file, no checksum of it, or another one.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        raise WeightsError(f"{file}: no such file. Make it: elfw pretrain (it takes a while)") from None
    promised = read_checksums(file.parent).get(file.name)
    if promised is None:
        sums = file.with_name(CHECKSUMS)
        raise WeightsError(f"{sums} holds no checksum of {file.name}. {advise_restoring(sums)}")
    found = hashlib.sha256(content).hexdigest()
    if found != promised:
        text = f"{file} is damaged: its SHA-256 is {found}, and {CHECKSUMS} promises {promised}"
        raise WeightsError(f"{text}. {advise_restoring(file)}")
    return content


def advise_restoring(file: Path) -> str:
    """Return the sentence that says how to get the committed file back."""
    return f"Restore it: git checkout -- {shlex.quote(str(file))}"


def check_architecture(network: nn.Module, stored: dict[str, Tensor], file: Path) -> None:
    """Raise WeightsError unless names and shapes are those of the network, all but `fc`."""
    found = {name: tuple(tensor.shape) for name, tensor in stored.items()}
    needed = {name: tuple(tensor.shape) for name, tensor in without_head(network).items()}
    wrong = sorted(dict(found.items() ^ needed.items()))
    if wrong:
        name = wrong[0]
        raise WeightsError(
            f"{file} holds the weights of another network: {len(wrong)} tensors are missing, left over or of "
            f"another shape, first {name} with {found.get(name, 'nothing')} in place of "
            f"{needed.get(name, 'nothing')}. Take the file of this network, or make it with `elfw pretrain`"
        )


def without_head(network: nn.Module) -> dict[str, Tensor]:
    """Return a network's weights and statistics by name, without those of its last layer `fc`."""
    return {name: tensor for name, tensor in network.state_dict().items() if not name.startswith("fc.")}


def convert(tensor: Tensor, kind: torch.dtype) -> Tensor:
    """Return a tensor on the CPU in another floating-point type; counts stay whole numbers."""
    return tensor.detach().to("cpu", kind if tensor.is_floating_point() else tensor.dtype).contiguous()


def store_weights(network: nn.Module, file: Path) -> None:
    """Write a network's weights, all but `fc`, as float16 safetensors, and their checksum to SHA256SUMS.

    float16 halves the file, and rounds a weight by at most 0.05 %.

    Raises:
        WeightsError: a weight is not finite in float16.
    """
    tensors = {name: convert(tensor, torch.float16) for name, tensor in without_head(network).items()}
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise WeightsError(f"{file} was not written: {name} has values that are not finite in float16")
    file.parent.mkdir(parents=True, exist_ok=True)
    content = save(tensors)
    checksums = read_checksums(file.parent) | {file.name: hashlib.sha256(content).hexdigest()}
    lines = "".join(f"{checksum}  {name}\n" for name, checksum in sorted(checksums.items()))
    write_atomically(file, content)
    write_atomically(file.with_name(CHECKSUMS), lines.encode())


def read_checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of each file by name, from a folder's SHA256SUMS; nothing where there is none."""
    sums = folder / CHECKSUMS
    if not sums.exists():
        return {}
    # sha256sum's lines: the checksum, a space, a space or (for binary) an asterisk, the name.
    return {line[66:]: line[:64] for line in sums.read_text().splitlines()}
