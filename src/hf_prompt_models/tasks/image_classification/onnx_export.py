"""Export an image classifier, from pixels to logits, as one ONNX file. Fixed text features become constants."""

import json
import logging
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from PIL import Image
from torch import nn
from transformers.utils import IMAGE_PROCESSOR_NAME

from hf_prompt_models.modeling_clip_utils import ClipPromptModel
from hf_prompt_models.utils.files import replacing, write_json


LOWEST_OPSET = 18
"""Oldest version that torch's exporter writes."""

MAX_BYTES = 3 * 2**29
"""Size above which torch's exporter writes weights to a second file; a protobuf message is limited to 2 GiB."""


@dataclass(frozen=True)
class OnnxExport:
    """Result of an export, with its difference from the model.

    Attributes:
        opset: Version of the ONNX operator set.
        checked_images: Number of images that both models classified.
        absolute_difference: Largest difference between two logits.
        relative_difference: The same, divided by the largest absolute logit.
    """

    opset: int
    checked_images: int
    absolute_difference: float
    relative_difference: float


class PixelsToLogits(nn.Module):
    """Image tower of a model with fixed classes, followed by one linear layer.

    Logits are an affine function of the normalised image features: similarities with the class features times a
    temperature, plus a bias with some backbones. The weights of the layer are computed from the model's logits for the
    unit vectors `e` and `-e`, which are `w + b` and `-w + b`.

    Other heads, such as most feature adapters, are exported as they are, with the class features as constants. Where
    the class features depend on the image, as with CoCoOp, the text tower is exported as well.

    Args:
        model: The classifier, in eval mode.
    """

    def __init__(self, model: ClipPromptModel):
        super().__init__()
        self.model = model
        self.head: nn.Linear | None = None
        if not model.compares_fixed_text:
            self.register_buffer("text_embeds", None)
        elif not model.is_linear_in_image_embeds:
            self.register_buffer("text_embeds", model.get_text_features().pooler_output.detach())
        else:
            self.head = self._linear_head(model)

    @staticmethod
    @torch.no_grad()
    def _linear_head(model: ClipPromptModel) -> nn.Linear:
        """Return the layer from normalised image features to logits."""
        classes, dim = model.get_text_features().pooler_output.shape
        axes = torch.eye(dim)
        ahead, behind = model(image_embeds=axes).logits, model(image_embeds=-axes).logits
        bias = (ahead + behind).mean(dim=0) / 2
        head = nn.Linear(dim, classes, bias=bool(bias.any()))
        head.weight.copy_((ahead - behind).T / 2)
        if head.bias is not None:
            head.bias.copy_(bias)
        return head

    def forward(self, pixel_values: torch.Tensor) -> torch.Tensor:
        """Return logits of shape (batch, classes) for pixels of shape (batch, 3, height, width)."""
        if not self.model.compares_fixed_text:
            return self.model(pixel_values).logits
        images: Any = self.model.get_image_features(pixel_values)
        if self.head is None:
            return self.model.calibrated(self.model.image_logits(images, cast(torch.Tensor, self.text_embeds)))
        return self.head(images.pooler_output)


def export_onnx(
    model: ClipPromptModel,
    path: str | os.PathLike,
    image_processor: Any,
    images: Sequence[Image.Image] = (),
    opset: int | None = None,
    tolerance: float = 1e-4,
) -> OnnxExport:
    """Export an image classifier as an ONNX file that needs neither PyTorch nor this package.

    The file has one input, `pixel_values` of shape (batch, 3, height, width), and one output, `logits` of shape
    (batch, classes), in float32; their softmax is the scores. The batch size is dynamic. The metadata have `id2label`,
    the class names by index as JSON. `preprocessor_config.json`, written next to the file, defines how images are
    prepared.

    The file is compared with the model by onnxruntime on random pixels and on `images`, one at a time and in batches
    of three, and moved into place if they agree.

    Args:
        model: The classifier, in float32 and on the CPU.
        path: File to write.
        image_processor: Image processor of the model.
        images: Images to compare on, in addition to random pixels.
        opset: Version of the ONNX operator set, at least 18. Default: the exporter's.
        tolerance: Maximum relative difference of logits, as defined in `OnnxExport`.

    Raises:
        ImportError: If the packages of the extra `onnx` are missing.
        ValueError: If the model cannot be exported, or if the logits of the file differ from the model's.
    """
    if missing := [name for name in ("onnx", "onnxscript", "onnxruntime") if find_spec(name) is None]:
        raise ImportError(
            f"Exporting to ONNX needs the package(s) {', '.join(missing)}, which are not installed. Install "
            "them with pip install 'hf_prompt_models[onnx]'."
        )
    path = Path(path)
    _check(model, opset)
    settings = json.loads(image_processor.to_json_string())
    settings_file = path.parent / IMAGE_PROCESSOR_NAME
    if settings_file.is_file() and json.loads(settings_file.read_text(encoding="utf-8")) != settings:
        raise ValueError(f"{settings_file} belongs to a model that takes other images. Export to another folder.")
    pixels = _pixels(image_processor, images)

    with replacing(path) as beside:
        program = _trace(PixelsToLogits(model).eval(), pixels[:2], opset)
        program.model.metadata_props["id2label"] = json.dumps(model.config.id2label, ensure_ascii=False)
        program.save(beside)
        absolute, largest = _compare(model, beside, pixels)
        if not absolute <= tolerance * largest:  # also true if one of them is NaN
            raise ValueError(
                f"The logits of the exported file differ from those of the model by up to {absolute:.2g}, "
                f"{absolute / largest:.2g} of the largest, but only {tolerance:g} is allowed, so no file was "
                "written. Try another opset, or raise the tolerance."
            )
        write_json(settings_file, settings)
    return OnnxExport(program.model.opset_imports[""], len(pixels), absolute, absolute / largest)


def _check(model: ClipPromptModel, opset: int | None) -> None:
    """Check the arguments and the model before any work."""
    import onnx

    newest = onnx.defs.onnx_opset_version()
    if opset is not None and not LOWEST_OPSET <= opset <= newest:
        raise ValueError(f"Expected an opset from {LOWEST_OPSET} to {newest}, got {opset}.")
    backbone = model.backbone
    if backbone.device.type != "cpu" or backbone.dtype != torch.float32:
        raise ValueError(
            f"The model is on {backbone.device} in {backbone.dtype}, but exporting needs float32 on the CPU. "
            "Load it with dtype=torch.float32 on the CPU."
        )
    towers = [backbone.vision_model] if model.compares_fixed_text else [backbone.vision_model, backbone.text_model]
    size = sum(parameter.nbytes for tower in towers for parameter in tower.parameters())
    if size > MAX_BYTES:
        raise ValueError(
            f"The exported part of the model has {size / 2**30:.1f} GiB of weights, but only {MAX_BYTES / 2**30} GiB "
            "fit into one file. Export a smaller model."
        )


def _pixels(image_processor: Any, images: Sequence[Image.Image]) -> torch.Tensor:
    """Return pixels of shape (images, 3, height, width): four random images, then the given ones."""
    inputs = image_processor([Image.new("RGB", (64, 64)), *images], return_tensors="pt")
    if set(inputs) != {"pixel_values"}:
        raise ValueError(
            f"The image processor returns {', '.join(inputs)}, but only models that take only pixel_values "
            "can be exported."
        )
    blank, *prepared = inputs["pixel_values"]
    random = torch.randn(4, *blank.shape, generator=torch.Generator().manual_seed(0))
    return torch.cat([random, *(pixels[None] for pixels in prepared)])


def _trace(classifier: PixelsToLogits, pixels: torch.Tensor, opset: int | None) -> Any:
    """Return the `ONNXProgram`, without the paths of this machine that the exporter stores in it."""
    with _quiet():
        program: Any = torch.onnx.export(
            classifier,
            (pixels,),
            input_names=["pixel_values"],
            output_names=["logits"],
            opset_version=opset,
            dynamo=True,
            dynamic_shapes={"pixel_values": {0: torch.export.Dim("batch")}},
            verbose=False,
        )
    written = program.model.opset_imports[""]
    if opset is not None and written != opset:
        raise ValueError(f"The model cannot be exported with opset {opset}. Use opset {written}.")
    for node in program.model.graph:  # these contain paths of source files
        node.metadata_props.clear()
    return program


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress messages of torch about its own export: that torchvision is not needed, and deprecations."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"`isinstance\(treespec, LeafSpec\)` is deprecated")
            yield
    finally:
        logger.setLevel(level)


def _compare(model: ClipPromptModel, file: Path, pixels: torch.Tensor) -> tuple[float, float]:
    """Return the largest difference between the logits of file and model, and the largest absolute logit."""
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    absolute, largest = 0.0, 0.0
    for size in (1, 3):
        for batch in pixels.split(size):
            with torch.no_grad():
                expected = model(batch).logits.numpy()
            (logits,) = session.run(["logits"], {"pixel_values": batch.numpy()})
            absolute = np.maximum(absolute, np.abs(logits - expected).max()).item()
            largest = max(largest, np.abs(expected).max().item())
    return absolute, largest
