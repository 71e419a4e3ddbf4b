"""Benchmark the text side of a prompt method against its released code, both in the same run.

Both implementations use the same random weights in the shapes of CLIP and the same prompts. The full-length
implementation computes what the released code computes: every class is a row of 77 tokens, and each layer with prompts
copies the rows.
"""

import argparse
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch.nn import functional as F
from transformers import CLIPConfig, CLIPModel

from hf_prompt_models import (
    IVLPForImageClassification,
    KgCoOpForImageClassification,
    MaPLeForImageClassification,
    MMRLForImageClassification,
    ProGradForImageClassification,
    PromptSRCForImageClassification,
    TCPForImageClassification,
)
from hf_prompt_models.configuration_utils import class_fields, ids_to_string
from hf_prompt_models.modeling_context_utils import ContextPromptModel
from hf_prompt_models.modeling_deep_prompt_utils import DeepPromptConfig
from hf_prompt_models.prompts.packing import pack_prompts

from .measuring import (
    MIB,
    activation_bytes,
    describe_machine,
    fastest_in_turn,
    markdown_table,
    random_tensor,
    relative_difference,
    transformers_activations,
)


Arm = Callable[..., torch.Tensor]

MODELS: dict[str, type[ContextPromptModel]] = {
    "ivlp": IVLPForImageClassification,
    "kgcoop": KgCoOpForImageClassification,
    "maple": MaPLeForImageClassification,
    "mmrl": MMRLForImageClassification,
    "prograd": ProGradForImageClassification,
    "promptsrc": PromptSRCForImageClassification,
    "tcp": TCPForImageClassification,
}

POSITIONS = 77
START, END, PERIOD = 49406, 49407, 269
PHOTO = [320, 1125, 539, 320]
"""CLIP token ids of "a photo of a"."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the benchmark."""
    parser.add_argument(
        "--classes", type=int, nargs="+", default=[10, 100], help="numbers of classes (default: 10 100)"
    )
    parser.add_argument("--name_length", type=int, default=2, help="number of tokens per class name (default: 2)")
    parser.add_argument(
        "--repeats", type=int, default=3, help="number of timed runs; the fastest is reported (default: 3)"
    )


def run(arguments: argparse.Namespace) -> Iterator[str]:
    """Measure the text side of a training step and yield the results as Markdown, part by part."""
    yield f"{describe_machine()} Class names have {arguments.name_length} tokens."
    clip, rows = build_deep_random_clip(), []
    for num_classes in arguments.classes:
        model = build_random_model(MODELS[arguments.subject], clip, num_classes, arguments.name_length)
        weights = random_tensor(num_classes, clip.config.projection_dim, seed=1)
        arms = full_length_text_features, text_features
        (theirs, expected), (ours, result) = fastest_in_turn(
            [partial(features_and_gradients, arm, model, weights) for arm in arms], arguments.repeats
        )
        their_kept, kept = (activation_bytes(partial(arm, model), list(model.parameters())) for arm in arms)
        tokens = pack_prompts(model.prompt_token_ids()).input_ids.numel()
        cells = [str(num_classes), f"{theirs:.2f}", f"{ours:.3f}", f"{theirs / ours:.1f}"]
        cells += [f"{POSITIONS * num_classes / tokens:.1f}"]
        cells += [f"{their_kept / MIB:.0f}", f"{kept / MIB:.0f}", f"{their_kept / kept:.1f}"]
        rows.append([*cells, *map(relative_difference, result, expected)])
    header = ["classes", "full-length s", "ours s", "times faster", "times fewer tokens", "full-length MiB"]
    header += ["ours MiB", "times less", "features differ", "gradients differ"]
    yield (
        (
            "### Text side of a training step\n\nFeatures of all classes, and the gradients of all trained "
            "tensors. Memory is what the forward pass keeps for the backward pass. The features of the teacher "
            "are precomputed.\n\n"
        )
        + markdown_table(header, rows)
    )


# -- the model -------------------------------------------------------------------------------------------------------


def build_deep_random_clip() -> CLIPModel:
    """Build a CLIP with random weights, the text tower of ViT-B, and a narrow image tower of the usual depth."""
    small = {"hidden_size": 32, "intermediate_size": 32, "num_attention_heads": 1}
    torch.manual_seed(0)
    return CLIPModel(CLIPConfig(vision_config=small)).eval()


def build_random_model(
    model_class: type[ContextPromptModel], clip: CLIPModel, num_classes: int, name_length: int
) -> ContextPromptModel:
    """Build a model with a random prompt learner whose class names are random tokens."""
    torch.manual_seed(0)
    names = torch.randint(1000, 40000, (num_classes, name_length)).tolist()
    sentences = [ids_to_string([START, *PHOTO, *name, PERIOD, END]) for name in names]
    config = model_class.config_class(
        clip_config=clip.config.to_dict(),
        class_token_ids=[ids_to_string([START, *name, PERIOD, END]) for name in names],
        teacher_token_ids=sentences,
        **class_fields([str(index) for index in range(num_classes)]),
    )
    if isinstance(config, DeepPromptConfig):
        config.frozen_context_ids = PHOTO[config.n_ctx :]
    if not model_class._num_added_tokens(config):  # a method without context vectors, whose text is the template
        config.class_token_ids = sentences
    return model_class(config, backbone=clip)


# -- the two implementations -----------------------------------------------------------------------------------------


def text_features(model: ContextPromptModel) -> torch.Tensor:
    """Return the L2-normalised class features, of shape (classes, dim)."""
    return model.get_text_features().pooler_output


def full_length_text_features(model: ContextPromptModel, context: torch.Tensor | None = None) -> torch.Tensor:
    """Compute the class features with each prompt in its own row, padded to 77 tokens.

    Args:
        model: the model.
        context: context vectors of shape (n_ctx, hidden size) or (classes, n_ctx, hidden size). Default: the context
            of the model.

    Returns:
        L2-normalised features of shape (classes, dim).
    """
    text = model.clip.text_model
    prompts = model.prompt_token_ids()
    virtual = [token for token in prompts[0] if token >= model.vocab_size]
    first, count = prompts[0].index(virtual[0]), len(virtual)
    ends = torch.tensor([len(prompt) - 1 for prompt in prompts])
    inserted = model.first_layer > 0
    if inserted:  # the prompt tokens are inserted in a later layer
        prompts = [prompt[:first] + prompt[first + count :] for prompt in prompts]
    ids = torch.tensor([prompt + [0] * (POSITIONS - len(prompt)) for prompt in prompts])
    hidden = text.embeddings.token_embedding(ids.where(ids < model.vocab_size, 0))
    if not inserted:
        context = model.context if context is None else context
        assert context is not None
        hidden = put(hidden, context, first, count)
    hidden = hidden + text.embeddings.position_embedding.weight
    layer_context = model.layer_context or {}
    for index, layer in enumerate(text.encoder.layers):
        if index in layer_context:
            replaced = 0 if inserted and index == model.first_layer else count
            hidden = put(hidden, layer_context[index], first, replaced)
        with transformers_activations(layer):
            hidden = layer(hidden, None, is_causal=True)
    pooled = text.final_layer_norm(hidden[torch.arange(len(prompts)), ends])
    return F.normalize(model.clip.text_projection(pooled), dim=-1)


def put(hidden: torch.Tensor, vectors: torch.Tensor, first: int, replaced: int) -> torch.Tensor:
    """Return a copy of the rows with vectors inserted in place of `replaced` positions from `first`."""
    vectors = vectors.expand(len(hidden), *vectors.shape[-2:])
    return torch.cat([hidden[:, :first], vectors, hidden[:, first + replaced :]], dim=1)


def features_and_gradients(arm: Arm, model: ContextPromptModel, weights: torch.Tensor) -> Sequence[torch.Tensor]:
    """Return the class features and the concatenated gradients of all trained tensors."""
    features = arm(model)
    (features * weights).sum().backward()
    return features.detach(), take_gradients(model)


def take_gradients(model: ContextPromptModel) -> torch.Tensor:
    """Return the concatenated gradients of all trained tensors that have one, and reset them."""
    gradients = [each.grad.flatten() for each in model.prompt_learner.parameters() if each.grad is not None]
    model.zero_grad(set_to_none=True)
    return torch.cat(gradients)
