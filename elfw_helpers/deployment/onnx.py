"""Export a trained network to ONNX: one file that runs without PyTorch and holds its own model card.

Input `images`, float32 [B, 3, size, size], scaled to 0..1 and normalised by the card's mean and std; output
`logits`, [B, classes] or [B, classes, size, size]. The model card stands as JSON in the file's metadata.
"""

from __future__ import annotations

import copy
import importlib.metadata
import io
import json
import logging
import warnings
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from elfw_helpers.models.hub import CARD, TrainedModel
from elfw_helpers.utils.errors import MissingPackage, WeightsError, require_deployment
from elfw_helpers.utils.files import require_new_file, write_atomically
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
        replace: overwrite an existing file.

    Returns:
        the largest difference between the logits of PyTorch and of onnxruntime, on eight images of noise.

    Raises:
        WeightsError: the two disagree.
        DataError: the file exists, or cannot be written.
    """
    file, size = Path(file), model.card.size
    require_new_file(file, replace)
    content = encode_onnx(model)
    inputs = torch.randn(8, 3, size, size, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = model.network.eval()(inputs.to(model.device)).cpu()
    difference = float((expected - OnnxNetwork(model.network, content)(inputs)).abs().max())
    if not difference <= LARGEST_DIFFERENCE:
        found = f"its logits are off by up to {difference:.2g}, more than {LARGEST_DIFFERENCE:g}"
        raise WeightsError(f"{file} was not written: {found}. Try another release of torch or onnxruntime")
    write_atomically(file, content)
    return difference


def encode_onnx(model: TrainedModel) -> bytes:
    """Return a trained network as the content of an ONNX file, its weights and its card inside."""
    require_deployment("onnx", "onnxscript")
    import onnx

    # The exporter would trace the gradients too, which nothing wants.
    network = copy.deepcopy(model.network).cpu().eval().requires_grad_(False)
    # Two images: an exporter that sees one takes the batch for a constant 1.
    example = (torch.zeros(2, 3, model.card.size, model.card.size),)
    batch = ({0: torch.export.Dim("batch")},)
    names = {"input_names": [INPUT], "output_names": [OUTPUT]}
    with quiet_exporter():
        program = torch.onnx.export(
            network, example, **names, dynamic_shapes=batch, dynamo=True, verbose=False
        )
    program.model.metadata_props.update(make_metadata(model))
    content = io.BytesIO()
    onnx.save(program.model_proto, content)
    return content.getvalue()


def make_metadata(model: TrainedModel) -> dict[str, str]:
    """Return the metadata of a model's ONNX file: its card, how to feed it, and what it was made from."""
    require_deployment("onnx", "onnxscript")
    card, network = model.card, model.network
    versions = [importlib.metadata.version(package) for package in ("onnx", "onnxscript")]
    state = {name: tensor.cpu() for name, tensor in network.state_dict().items()}
    return {
        CARD: json.dumps(asdict(card)),
        "classes": ",".join(card.classes),
        "preprocessing": f"RGB, {card.size} x {card.size}, / 255, - mean {card.mean}, / std {card.std}",
        "weights": fingerprint(state),
        "code": fingerprint(type(network), encode_onnx, versions),
    }


@contextmanager
def quiet_exporter():
    """Silence the progress reports and warnings of PyTorch's exporter; its errors still come through."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


class OnnxNetwork(nn.Module):
    """A network that onnxruntime computes on the CPU, from the content of its ONNX file.

    PyTorch's own stays beside it as `source`, for what needs gradients, and for images of another size than
    the file's.
    """

    def __init__(self, source: nn.Module, content: bytes, threads: int = 1):
        super().__init__()
        self.source = source
        self.session = open_session(content, threads)

    def forward(self, images: Tensor) -> Tensor:
        """Return logits of images, float32 [B, 3, size, size]."""
        if list(images.shape[1:]) != self.session.get_inputs()[0].shape[1:]:
            return self.source(images)
        logits = run_session(self.session, {INPUT: images.cpu().numpy()})[OUTPUT]
        return torch.from_numpy(logits)


def open_session(content: bytes, threads: int = 1):
    """Return onnxruntime's session of an ONNX file's content; raise WeightsError if it is none."""
    require_deployment("onnxruntime")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Errors only: it warns of graphics cards that it cannot find.
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    # onnxruntime's errors have nothing but this in common.
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"This is no ONNX file ({reason}). Export the model again") from None


def run_session(session, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the outputs of onnxruntime's session by name; raise MemoryError if it gets none."""
    names = [output.name for output in session.get_outputs()]
    try:
        return dict(zip(names, session.run(names, inputs), strict=True))
    # Its errors are bare Exceptions, this one too.
    except Exception as error:
        if "alloc" in str(error):
            raise MemoryError(str(error).partition("\n")[0]) from None
        raise


def use_onnxruntime(model: TrainedModel) -> TrainedModel:
    """Return the same model, computed by onnxruntime if that is installed, else as it is.

    The export is kept in the build folder until the weights, the code or a package that exports change.
    """
    file = build_folder() / "onnx" / f"{model.name}.onnx"
    try:
        if not (file.exists() and is_export_of(model, file.read_bytes())):
            export_model(model, file, replace=True)
    except MissingPackage:
        return model
    return replace(model, network=OnnxNetwork(model.network, file.read_bytes()))


def is_export_of(model: TrainedModel, content: bytes) -> bool:
    """Return whether the content of an ONNX file was made from just this model."""
    try:
        metadata = open_session(content).get_modelmeta().custom_metadata_map
    except WeightsError:
        return False
    return make_metadata(model).items() <= metadata.items()
