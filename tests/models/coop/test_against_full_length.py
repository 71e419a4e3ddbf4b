"""Logits and gradients of CoOp against prompts of 77 tokens each, encoded by `CLIPModel` itself."""

import itertools
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from hf_prompt_models import CoOpForImageClassification
from tests.full_length_reference import coop_logits, coop_text_features


TRAINED_CLIP = Path(__file__).parents[4] / "shared" / "models" / "clip-photos-tiny"
LOGITS_TOLERANCE = 1e-4  # absolute, where logits span ±100
GRADIENT_TOLERANCE = 1e-4  # largest difference over the largest entry, for each class's context by itself

NAMES = [
    "cat",
    "cat",  # repeated
    "catfish",  # begins like another
    "x",  # one token, and the placeholder's letter
    "sea_or_lake",
    "the dog",
    "kite (bird of prey)",  # ")." is one token
    "wow!",  # so is "!."
    "and so on..",
    'the "size"',
    "3-D printer",
    "Crème brûlée",
    "a b c d e f g h i j k l m n o p q r s t u v w x y z " * 2,
]
NAMES[-1] = " ".join(NAMES[-1].split()[:50])
POSITIONS = ("end", "middle", "front")
CASES = [
    *itertools.product(["openai_clip"], ["sdpa"], POSITIONS, [False, True], [1, 3, 4, 16]),
    *itertools.product(["openai_clip"], ["eager"], POSITIONS, [False, True], [3]),
    *itertools.product(["modern_clip"], ["eager", "sdpa"], POSITIONS, [False, True], [3]),
]


def new_coop(folder: Path, names: list[str], **kwargs: object) -> CoOpForImageClassification:
    """With context as large as words, so that it matters."""
    model = CoOpForImageClassification.from_backbone(folder, class_names=names, **kwargs)
    with torch.no_grad():
        model.prompt_learner.context.normal_(std=0.5)
    return model


def relative_difference(gradient: torch.Tensor, expected: torch.Tensor) -> float:
    """Largest over contexts of (largest difference / largest entry)."""
    difference = (gradient - expected).abs().flatten(-2).amax(-1)
    return (difference / expected.abs().flatten(-2).amax(-1)).max().item()


def test_names_are_of_1_to_50_tokens(openai_clip: Path) -> None:
    tokenizer = new_coop(openai_clip, ["cat"]).processor.tokenizer
    lengths = [len(tokenizer(name, add_special_tokens=False)["input_ids"]) for name in NAMES]
    assert min(lengths) == 1
    assert max(lengths) == 50


@pytest.mark.parametrize(("backbone", "attention", "position", "class_specific", "n_ctx"), CASES)
def test_logits_and_gradients_equal_full_length_encoding(
    backbone: str, attention: str, position: str, class_specific: bool, n_ctx: int, request: pytest.FixtureRequest
) -> None:
    model = new_coop(
        request.getfixturevalue(backbone),
        NAMES,
        n_ctx=n_ctx,
        class_token_position=position,
        class_specific_context=class_specific,
        attn_implementation=attention,
    )
    assert model.clip.text_model.config._attn_implementation == attention
    context = model.prompt_learner.context
    image_features, labels = torch.randn(8, 24), torch.randint(len(NAMES), (8,))
    output = model(image_embeds=image_features, labels=labels)
    output.loss.backward()

    reference = context.detach().clone().requires_grad_()
    expected = coop_logits(model.clip, model.processor.tokenizer, NAMES, reference, position, image_features)
    expected_loss = F.cross_entropy(expected, labels)
    expected_loss.backward()

    torch.testing.assert_close(output.logits, expected, rtol=0, atol=LOGITS_TOLERANCE)
    torch.testing.assert_close(output.loss, expected_loss, rtol=1e-5, atol=1e-5)
    assert relative_difference(context.grad, reference.grad) < GRADIENT_TOLERANCE


@pytest.mark.parametrize("position", POSITIONS)
def test_more_rows_than_one_forward_takes(position: str, openai_clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows of many classes go through the tower in parts; the order of the classes survives."""
    monkeypatch.setattr("hf_prompt_models.prompts.text_encoding.ROWS_PER_FORWARD", 2)
    names = [
        f"{first} {second} {'very ' * (index % 5)}thing"
        for index, (first, second) in enumerate(
            itertools.permutations(["cat", "dog", "photo", "sunset", "the", "zebra", "ox"], 2)
        )
    ]
    model = new_coop(openai_clip, names, n_ctx=5, class_token_position=position)
    expected = coop_text_features(model.clip, model.processor.tokenizer, names, model.prompt_learner.context, position)
    torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-6)


@given(
    names=st.lists(
        # Not ending in "_": the released code would write "(rock) ." there, we "(rock).", as for a name without it.
        st.text("ab c._-)!'é9X中🙂", min_size=1, max_size=8).map(lambda name: name.strip(" _")).filter(bool),
        min_size=1,
        max_size=6,
    ),
    position=st.sampled_from(POSITIONS),
    class_specific=st.booleans(),
    n_ctx=st.integers(1, 5),
)
def test_any_names_equal_full_length_encoding(
    names: list[str], position: str, class_specific: bool, n_ctx: int, openai_clip: Path
) -> None:
    model = new_coop(
        openai_clip, names, n_ctx=n_ctx, class_token_position=position, class_specific_context=class_specific
    )
    expected = coop_text_features(model.clip, model.processor.tokenizer, names, model.prompt_learner.context, position)
    torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("position", POSITIONS)
def test_a_prompt_is_read_at_its_end_token_even_where_the_name_shrinks_before_the_full_stop(
    position: str, openai_clip: Path
) -> None:
    """'".' has two tokens and '"..' one, as ',..' in CLIP's own vocabulary: the end token is no part of the name."""
    model = new_coop(openai_clip, ['".'], n_ctx=2, class_token_position=position)
    tokenizer = model.processor.tokenizer
    assert len(tokenizer('".', add_special_tokens=False)["input_ids"]) == 2
    assert len(tokenizer('"..', add_special_tokens=False)["input_ids"]) == 1
    (prompt,) = model.prompt_token_ids()
    assert prompt[0] == tokenizer.bos_token_id
    assert prompt[-1] == tokenizer.eos_token_id


@pytest.mark.parametrize("position", POSITIONS)
def test_a_trained_backbone_with_clips_own_vocabulary_agrees_too(position: str) -> None:
    if not TRAINED_CLIP.is_dir():
        pytest.skip("../shared is not here")
    names = ["granny_smith apple", "kite (bird of prey)", "snoopy (cartoon beagle)", "Crème fraîche", "granny smith"]
    model = new_coop(TRAINED_CLIP, names, n_ctx=7, class_token_position=position)
    images, labels = torch.randn(8, 128), torch.randint(len(names), (8,))
    output = model(image_embeds=images, labels=labels)
    output.loss.backward()
    reference = model.prompt_learner.context.detach().clone().requires_grad_()
    expected = coop_logits(model.clip, model.processor.tokenizer, names, reference, position, images)
    F.cross_entropy(expected, labels).backward()
    torch.testing.assert_close(output.logits, expected, rtol=0, atol=LOGITS_TOLERANCE)
    assert relative_difference(model.prompt_learner.context.grad, reference.grad) < GRADIENT_TOLERANCE
