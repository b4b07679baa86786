"""A trained network as ONNX: one file that runs without PyTorch, and says itself how to feed it.

Input `images`, float32 [B, 3, size, size], scaled to 0..1 and normalised by the card's mean and std; output
`logits`, [B, classes] or [B, classes, size, size]. The model card stands as JSON in the file's metadata.
"""

from __future__ import annotations

import copy
import hashlib
import importlib.metadata
import io
import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from elfw_helpers.models.hub import CARD, ModelCard, TrainedModel, parse_card
from elfw_helpers.utils.errors import MissingPackage, WeightsError, require_deployment
from elfw_helpers.utils.files import require_writable_file, write_atomically
from elfw_helpers.utils.fingerprints import fingerprint
from elfw_helpers.utils.paths import build_folder

INPUT, OUTPUT = "images", "logits"
# PyTorch and onnxruntime add up in another order: their logits may differ by this much.
LARGEST_DIFFERENCE = 1e-4


def export_model(model: TrainedModel, file: str | Path, replace: bool = False) -> float:
    """Write a trained network as ONNX, its card in the metadata, and check it against PyTorch.

    Args:
        model: from `load_model`.
        file: where to, such as `unet.onnx`.
        replace: overwrite the file if it is there.

    Returns:
        the largest difference between the logits of PyTorch and of onnxruntime, on random images.

    Raises:
        WeightsError: the file exists, or the two disagree.
        DataError: the file cannot be written.
    """
    file = Path(file)
    if file.exists() and not replace:
        raise WeightsError(f"{file} exists. Name another file, or overwrite it with --replace")
    require_writable_file(file)
    content = encode_onnx(model)
    difference = compare_logits(model, OnnxNetwork(model.network, content))
    if not difference <= LARGEST_DIFFERENCE:
        found = f"its logits are off by up to {difference:.2g}, more than {LARGEST_DIFFERENCE:g}"
        raise WeightsError(f"{file} was not written: {found}. Try another release of torch or onnxruntime")
    write_atomically(file, content)
    return difference


def encode_onnx(model: TrainedModel) -> bytes:
    """Return a trained network as the content of an ONNX file, its weights and its card inside."""
    require_deployment("onnx", "onnxscript")
    network = copy.deepcopy(model.network).cpu().eval()
    # Two images: an exporter that sees one takes the batch for a constant 1.
    example = (torch.zeros(2, 3, model.card.size, model.card.size),)
    batch = ({0: torch.export.Dim("batch")},)
    names = {"input_names": [INPUT], "output_names": [OUTPUT]}
    with quiet_exporter():
        program = torch.onnx.export(
            network, example, **names, dynamic_shapes=batch, dynamo=True, verbose=False
        )
    program.model.metadata_props.update(describe(model))
    buffer = io.BytesIO()
    import onnx

    onnx.save(program.model_proto, buffer)
    return buffer.getvalue()


def describe(model: TrainedModel) -> dict[str, str]:
    """Return the metadata of an ONNX file: the card, what programs ask for first, what it was made from."""
    require_deployment("onnx", "onnxscript")
    versions = [importlib.metadata.version(package) for package in ("onnx", "onnxscript")]
    card = model.card
    return {
        CARD: json.dumps(asdict(card)),
        "classes": ",".join(card.classes),
        "preprocessing": f"RGB, {card.size} x {card.size}, / 255, - mean {card.mean}, / std {card.std}",
        "weights": hash_weights(model.network),
        "code": fingerprint(type(model.network), encode_onnx, versions),
    }


def hash_weights(network: nn.Module) -> str:
    """Return the SHA-256 of a network's weights and statistics."""
    digest = hashlib.sha256()
    for name, tensor in sorted(network.state_dict().items()):
        digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def quiet_exporter():
    """Keep PyTorch's exporter from telling of its own workings; its errors still come through."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


class OnnxNetwork(nn.Module):
    """A network whose answers come from onnxruntime, on the CPU; PyTorch's own stays beside it as `source`.

    Args:
        source: the network that was exported, for what needs gradients.
        content: of its ONNX file.
        threads: how many cores an answer may use.
    """

    def __init__(self, source: nn.Module, content: bytes, threads: int = 1):
        super().__init__()
        self.source = source
        self.session = open_session(content, threads)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of images, float32 [B, 3, size, size]."""
        (logits,) = self.session.run([OUTPUT], {INPUT: images.cpu().numpy()})
        return torch.from_numpy(logits)


def open_session(content: bytes | str | Path, threads: int = 1):
    """Return onnxruntime's session of an ONNX file or of its content.

    Raises:
        WeightsError: there is no such file, or it is no ONNX that can be run.
    """
    require_deployment("onnxruntime")
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Errors only: it warns of graphics cards that it cannot find.
    options.log_severity_level = 3
    place = "it" if isinstance(content, bytes) else content
    try:
        model = content if isinstance(content, bytes) else str(content)
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except (
        errors.NoSuchFile,
        errors.InvalidProtobuf,
        errors.InvalidArgument,
        errors.InvalidGraph,
        errors.Fail,
    ) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{place} is no ONNX file ({reason}). Export the model again") from None


def read_card(file: str | Path) -> ModelCard:
    """Return the model card in an ONNX file's metadata.

    Raises:
        WeightsError: the file is missing or no ONNX, or holds no card that makes sense.
    """
    return parse_card(open_session(file).get_modelmeta().custom_metadata_map, Path(file))


@torch.no_grad()
def compare_logits(model: TrainedModel, other: nn.Module, images: int = 8) -> float:
    """Return the largest difference between a model's logits and another network's, on images of noise."""
    size = model.card.size
    inputs = torch.randn(images, 3, size, size, generator=torch.Generator().manual_seed(0))
    expected = model.network.eval()(inputs.to(model.device)).cpu()
    return float((expected - other(inputs)).abs().max())


def speed_up(model: TrainedModel) -> TrainedModel:
    """Return the same model answered by onnxruntime if that is installed, else as it is.

    The export, some seconds, is kept in the build folder until the weights, the network's or the
    exporter's code, or a package that exports change.
    """
    file = build_folder() / "onnx" / f"{model.name}.onnx"
    try:
        if not is_export_of(model, file):
            export_model(model, file, replace=True)
    except MissingPackage:
        return model
    return replace(model, network=OnnxNetwork(model.network, file.read_bytes()))


def is_export_of(model: TrainedModel, file: Path) -> bool:
    """Say whether a file is the ONNX of just this model."""
    try:
        metadata = open_session(file).get_modelmeta().custom_metadata_map
    except WeightsError:
        return False
    return {name: metadata.get(name) for name in describe(model)} == describe(model)
