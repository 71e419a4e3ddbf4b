"""The methods after CoOp against reference implementations: logits, loss and its terms, and gradients."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPModel, PreTrainedTokenizerBase

from hf_prompt_models import (
    CoCoOpForImageClassification,
    IVLPForImageClassification,
    KgCoOpForImageClassification,
    MaPLeForImageClassification,
    MMRLForImageClassification,
    ProGradForImageClassification,
    PromptSRCForImageClassification,
    TCPForImageClassification,
)
from tests.prompted_clip_reference import (
    class_features,
    encode_image,
    encode_image_with_inserted,
    inserted_class_features,
    plain_text_feature,
    teacher_features,
)
from tests.stand_ins import openai_clip_vit_base_patch32


NAMES = ["cat", "dog in the photo", "an (ox)", "the cat", "cat"]
LABELS = torch.tensor([4, 0, 2])
Tensors = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP whose towers have different depths."""
    folder = tmp_path_factory.mktemp("hub") / "clip"
    return openai_clip_vit_base_patch32(folder, text_layers=4, vision_layers=5)


@pytest.fixture(scope="module")
def pixels() -> torch.Tensor:
    return torch.randn(3, 3, 224, 224, generator=torch.Generator().manual_seed(5))


class Reference:
    """A backbone in double precision, and what the papers' code makes of trained tensors.

    Args:
        clip: the backbone.
        tokenizer: its tokenizer.
        pixels: (batch, 3, height, width)
    """

    def __init__(self, clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, pixels: torch.Tensor):
        self.clip, self.tokenizer, self.pixels = clip.double(), tokenizer, pixels.double()
        self.plain_images = torch.stack([encode_image(clip, each, []) for each in self.pixels]).detach()
        self.scale = clip.logit_scale.exp()

    def classes(self, context: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return class_features(self.clip, self.tokenizer, NAMES, context, **kwargs)

    def teacher(self, *templates: str) -> torch.Tensor:
        return teacher_features(self.clip, self.tokenizer, NAMES, templates)

    def images(self, appended: list[torch.Tensor]) -> torch.Tensor:
        return torch.stack([encode_image(self.clip, each, appended) for each in self.pixels])

    def logits(self, images: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
        return self.scale * images @ classes.T


def distance(features: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    return 1 - (features * targets).sum(dim=1).mean()  # of unit vectors


def divergence(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    probabilities = targets.softmax(dim=1)
    return (probabilities * (probabilities.log() - logits.log_softmax(dim=1))).sum()


def linear(tensors: Tensors, name: str, inputs: torch.Tensor) -> torch.Tensor:
    return inputs @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]


def kgcoop(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    classes = reference.classes(tensors["context"])
    logits = reference.logits(reference.plain_images, classes)
    teacher = reference.teacher("a photo of a {}.", "the {} in a photo")
    terms = {"cross_entropy": F.cross_entropy(logits, LABELS), "knowledge": distance(classes, teacher)}
    return logits, terms["cross_entropy"] + 3 * terms["knowledge"], terms


def prograd(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    logits = reference.logits(reference.plain_images, reference.classes(tensors["context"]))
    targets = reference.logits(reference.plain_images, reference.teacher("the photo of {}."))
    cross_entropy = F.cross_entropy(logits, LABELS)
    term = -4 * ((targets / 2).softmax(1) * (logits / 2).log_softmax(1)).sum(1).mean()
    (a,) = torch.autograd.grad(cross_entropy, tensors["context"], retain_graph=True)
    (b,) = torch.autograd.grad(term, tensors["context"], retain_graph=True)
    product, length = (a * b).sum(), b.norm()
    ruled = a if product >= 0 else a - 0.8 * product / length * (b / length)
    # A loss of the right value whose gradient is the rule's.
    loss = cross_entropy.detach() + (tensors["context"] * ruled).sum() - (tensors["context"] * ruled).sum().detach()
    return logits, loss, {"cross_entropy": cross_entropy, "divergence": term}


def prompts_by_layer(tensors: Tensors, context: str, deep: str) -> list[torch.Tensor]:
    return [tensors[context], *tensors.get(deep, [])] if context in tensors else []


def ivlp(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    images = reference.images(prompts_by_layer(tensors, "vision_context", "deep_vision_context"))
    if "context" in tensors:
        deep = dict(enumerate(tensors.get("deep_context", []), 1))
        words = {2: "of a", 3: "a", 4: "", 6: ""}[len(tensors["context"])]
        classes = reference.classes(tensors["context"], words=words, deep=deep)
    else:
        rows = [plain_text_feature(reference.clip, reference.tokenizer, f"a photo of a {name}.") for name in NAMES]
        classes = F.normalize(torch.stack(rows), dim=1)
    logits = reference.logits(images, classes)
    loss = F.cross_entropy(logits, LABELS)
    return logits, loss, {"cross_entropy": loss}


def maple(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    contexts = [tensors["context"], *tensors.get("deep_context", [])]
    images = reference.images([linear(tensors, f"projections.{i}", context) for i, context in enumerate(contexts)])
    classes = reference.classes(contexts[0], words="of a", deep=dict(enumerate(contexts[1:], 1)))
    logits = reference.logits(images, classes)
    loss = F.cross_entropy(logits, LABELS)
    return logits, loss, {"cross_entropy": loss}


def promptsrc(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    images = reference.images(prompts_by_layer(tensors, "vision_context", "deep_vision_context"))
    classes = reference.classes(tensors["context"], deep=dict(enumerate(tensors["deep_context"], 1)))
    logits = reference.logits(images, classes)
    teacher = reference.teacher("a photo of a {}.", "the {} in a photo", "{}")
    targets = reference.logits(reference.plain_images, teacher)
    terms = {
        "cross_entropy": F.cross_entropy(logits, LABELS),
        "text": (classes - teacher).abs().sum() / classes.numel(),
        "image": (images - reference.plain_images).abs().sum() / images.numel(),
        "logits": divergence(logits, targets) / (3 * len(NAMES)),
    }
    return logits, terms["cross_entropy"] + 25 * terms["text"] + 10 * terms["image"] + 2 * terms["logits"], terms


def cocoop(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    rows = []
    for image in reference.plain_images:
        hidden = linear(tensors, "meta_net.linear1", image).clamp(min=0)
        shift = linear(tensors, "meta_net.linear2", hidden)
        rows.append(reference.logits(image, reference.classes(tensors["context"] + shift)))
    logits = torch.stack(rows)
    loss = F.cross_entropy(logits, LABELS)
    return logits, loss, {"cross_entropy": loss}


def tcp(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    teacher = reference.teacher("a photo of a {}.")
    hidden = linear(tensors, "meta_net.linear1", teacher)
    tokens = linear(tensors, "meta_net.linear2", hidden * torch.sigmoid(1.702 * hidden))
    tokens = tokens.reshape(len(NAMES), len(tensors["context"]), -1)
    classes = reference.classes(tensors["context"], ending="{}, in a photo.", deep_of_class={2: tokens})
    logits = reference.logits(reference.plain_images, classes)
    terms = {"cross_entropy": F.cross_entropy(logits, LABELS), "knowledge": distance(classes, teacher)}
    return logits, terms["cross_entropy"] + 8 * terms["knowledge"], terms


def mmrl(reference: Reference, tensors: Tensors) -> tuple[torch.Tensor, torch.Tensor, Tensors]:
    tokens = tensors["representation"]
    of_text = {layer: linear(tensors, f"text_projections.{layer - 1}", tokens) for layer in (1, 2, 3)}
    of_vision = {layer: linear(tensors, f"vision_projections.{layer - 1}", tokens) for layer in (1, 2, 3, 4)}
    pairs = [encode_image_with_inserted(reference.clip, each, of_vision) for each in reference.pixels]
    images, inner = (torch.stack(each) for each in zip(*pairs, strict=True))
    representations = F.normalize(inner @ tensors["representation_projection.weight"].T, dim=1)
    classes = inserted_class_features(reference.clip, reference.tokenizer, NAMES, "the photo of a {}.", of_text)
    logits = reference.logits(images, classes)
    others = reference.logits(representations, classes)
    terms = {
        "cross_entropy": F.cross_entropy(logits, LABELS),
        "representation_cross_entropy": F.cross_entropy(others, LABELS),
        "image": distance(images, reference.plain_images),
        "text": distance(classes, reference.teacher("the photo of a {}.")),
    }
    loss = 0.6 * terms["cross_entropy"] + 0.4 * terms["representation_cross_entropy"]
    return 0.6 * logits + 0.4 * others, loss + 0.5 * (terms["image"] + terms["text"]), terms


Compute = Callable[[Reference, Tensors], tuple[torch.Tensor, torch.Tensor, Tensors]]
CASES: dict[str, tuple[type, dict[str, Any], Compute]] = {
    "kgcoop": (
        KgCoOpForImageClassification,
        {"knowledge_weight": 3.0, "templates": ["a photo of a {}.", "the {} in a photo"]},
        kgcoop,
    ),
    "prograd": (
        ProGradForImageClassification,
        {"n_ctx": 6, "gradient_weight": 0.8, "temperature": 2.0, "templates": ["the photo of {}."]},
        prograd,
    ),
    "ivlp": (IVLPForImageClassification, {"text_depth": 3, "n_vision_ctx": 3, "vision_depth": 5}, ivlp),
    "ivlp, all layers": (IVLPForImageClassification, {"n_ctx": 6, "text_depth": 4, "vision_depth": 2}, ivlp),
    "ivlp, shallow": (IVLPForImageClassification, {"n_ctx": 3, "text_depth": 1, "vision_depth": 1}, ivlp),
    "vpt": (IVLPForImageClassification, {"text_depth": 0, "vision_depth": 3}, ivlp),
    "deep language": (IVLPForImageClassification, {"n_ctx": 4, "text_depth": 2, "vision_depth": 0}, ivlp),
    "maple": (MaPLeForImageClassification, {"prompt_depth": 3}, maple),
    "maple, shallow": (MaPLeForImageClassification, {"prompt_depth": 1}, maple),
    "promptsrc": (
        PromptSRCForImageClassification,
        {
            "prompt_depth": 3,
            "logits_weight": 2.0,
            "templates": ["a photo of a {}.", "the {} in a photo", "{}"],
        },
        promptsrc,
    ),
    "cocoop": (CoCoOpForImageClassification, {}, cocoop),
    "tcp": (TCPForImageClassification, {"class_token_layer": 2, "prompt_template": "{}, in a photo."}, tcp),
    "mmrl": (
        MMRLForImageClassification,
        {"n_rep": 3, "first_layer": 1, "rep_dim": 16, "alpha": 0.6, "templates": ["the photo of a {}."]},
        mmrl,
    ),
}


def build(folder: Path, case: str) -> Any:
    """A model whose trained tensors are of the backbone's size, so that each of them shows."""
    model_class, arguments, _ = CASES[case]
    torch.manual_seed(3)
    model = model_class.from_backbone(folder, NAMES, **arguments)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.prompt_learner.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return model


@pytest.mark.parametrize("case", CASES)
def test_logits_loss_and_gradients_are_those_of_the_reference(case: str, folder: Path, pixels: torch.Tensor) -> None:
    model = build(folder, case)
    output = model(pixel_values=pixels, labels=LABELS)
    output.loss.backward()

    tensors = {
        name: parameter.detach().double().requires_grad_()
        for name, parameter in model.prompt_learner.named_parameters()
    }
    reference = Reference(CLIPModel.from_pretrained(folder), model.processor.tokenizer, pixels)
    logits, loss, terms = CASES[case][2](reference, tensors)
    gradients = dict(zip(tensors, torch.autograd.grad(loss, list(tensors.values())), strict=True))

    torch.testing.assert_close(output.logits.double(), logits, rtol=0, atol=1e-4)
    torch.testing.assert_close(output.loss.double(), loss, rtol=1e-4, atol=1e-5)
    assert set(output.loss_terms) == set(terms)
    for name, term in terms.items():
        torch.testing.assert_close(output.loss_terms[name].double(), term, rtol=1e-4, atol=1e-5, msg=name)
    for name, parameter in model.prompt_learner.named_parameters():
        difference = (parameter.grad.double() - gradients[name]).norm() / gradients[name].norm()
        assert difference < 1e-4, f"{name}: {difference}"
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == {
        f"prompt_learner.{name}" for name in tensors
    }
