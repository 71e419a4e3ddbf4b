"""CoOp: construction and initialisation of the prompt, and the supported class names."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError

from hf_prompt_models import CoOpConfig, CoOpForImageClassification, CoOpProcessor
from hf_prompt_models.playground import CLIP_DIR


NAMES = ["cat", "dog", "sea_or_lake"]


def coop(folder: Path, class_names: list[str] | None = None, **kwargs: object) -> CoOpForImageClassification:
    return CoOpForImageClassification.from_backbone(folder, class_names=class_names or NAMES, **kwargs)


def text_features(model: CoOpForImageClassification) -> torch.Tensor:
    with torch.no_grad():
        return model.get_text_features().pooler_output


def with_context_of(one: CoOpForImageClassification, other: CoOpForImageClassification) -> CoOpForImageClassification:
    other.load_state_dict({"prompt_learner.context": one.prompt_learner.context}, strict=False)
    return other


# -- what it starts from ---------------------------------------------------------------------------------------------


def test_random_context_is_of_deviation_002(openai_clip: Path) -> None:
    context = coop(openai_clip, class_specific_context=True).prompt_learner.context
    assert context.shape == (3, 16, 32)
    assert context.std().item() == pytest.approx(0.02, rel=0.1)
    assert abs(context.mean().item()) < 0.002
    assert not torch.equal(context[0], context[1])


def test_random_context_follows_the_seed(openai_clip: Path) -> None:
    contexts = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        contexts.append(coop(openai_clip).prompt_learner.context)
    assert torch.equal(contexts[0], contexts[1])
    assert not torch.equal(contexts[0], contexts[2])


@pytest.mark.parametrize(
    ("words", "tokens"),
    [
        ("a photo of the", ["a</w>", "photo</w>", "of</w>", "the</w>"]),
        (" a photo  of a ", ["a</w>", "photo</w>", "of</w>", "a</w>"]),  # not one for each space
        ("a_photo_of", ["a</w>", "photo</w>", "of</w>"]),
        ("itap of a", ["i", "t", "a", "p</w>", "of</w>", "a</w>"]),  # not one for each word
        ("A Photo:", ["a</w>", "photo</w>", ":</w>"]),
    ],
)
@pytest.mark.parametrize("class_specific", [False, True])
def test_context_starts_from_the_tokens_of_the_words(
    class_specific: bool, words: str, tokens: list[str], openai_clip: Path
) -> None:
    model = coop(openai_clip, n_ctx=7, context_init=words, class_specific_context=class_specific)
    ids = model.processor.tokenizer.convert_tokens_to_ids(tokens)
    embeddings = model.clip.text_model.embeddings.token_embedding.weight[ids]
    context = model.prompt_learner.context
    assert context.shape == ((3, len(tokens), 32) if class_specific else (len(tokens), 32))
    assert torch.equal(context, embeddings.expand_as(context))
    assert model.config.n_ctx == len(tokens)
    assert context.requires_grad


def test_words_before_the_name_are_the_zero_shot_prompt(openai_clip: Path) -> None:
    model = coop(openai_clip, context_init="a photo of a")
    tokenizer = model.processor.tokenizer
    prompts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    ids = tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
    expected = torch.nn.functional.normalize(model.clip.get_text_features(input_ids=ids).pooler_output, dim=-1)
    torch.testing.assert_close(text_features(model), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("words", ["", "  ", "_"])
def test_context_init_without_words_is_refused(words: str, openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="context_init"):
        coop(openai_clip, context_init=words)


# -- what cannot be --------------------------------------------------------------------------------------------------


def test_an_unknown_position_is_refused_with_the_known_ones(openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="'center'") as error:
        coop(openai_clip, class_token_position="center")
    for position in ("end", "middle", "front"):
        assert position in str(error.value)


@pytest.mark.parametrize("n_ctx", [0, -1])
def test_no_context_at_all_is_refused(n_ctx: int, openai_clip: Path) -> None:
    with pytest.raises(StrictDataclassError, match=r"n_ctx.* at least 1"):
        coop(openai_clip, n_ctx=n_ctx)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_the_longest_name_that_fits_is_taken_and_a_longer_one_named(position: str, openai_clip: Path) -> None:
    """77 positions less start, 16 of context, full stop and end are 58."""
    coop(openai_clip, ["cat", " ".join("x" * 58)], class_token_position=position).get_text_features()
    long = " ".join("x" * 59)
    with pytest.raises(ValueError, match=f"'{long}' has 59 tokens, but only 58 fit") as error:
        coop(openai_clip, ["cat", long], class_token_position=position)
    assert "'cat'" not in str(error.value)
    coop(openai_clip, ["cat", long], n_ctx=15, class_token_position=position).get_text_features()


def test_a_full_stop_merged_into_the_name_leaves_space_for_one_token_more(openai_clip: Path) -> None:
    coop(openai_clip, [" ".join("x" * 58) + ")"]).get_text_features()
    with pytest.raises(ValueError, match="60 tokens, but only 59 fit"):
        coop(openai_clip, [" ".join("x" * 59) + ")"])


def test_context_longer_than_the_tower_is_refused(openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="n_ctx"):
        coop(openai_clip, n_ctx=100)


@pytest.mark.parametrize("names", [[], [""], ["cat", "_"]])
def test_names_without_words_are_refused(names: list[str], openai_clip: Path) -> None:
    with pytest.raises(ValueError, match="name"):
        CoOpForImageClassification.from_backbone(openai_clip, class_names=names)


def test_a_configuration_with_an_unknown_position_is_refused() -> None:
    with pytest.raises(StrictDataclassError, match=r"class_token_position.*'end', 'middle', 'front'"):
        CoOpConfig(class_token_position="center")


# -- whose classes it takes ------------------------------------------------------------------------------------------


def test_new_classes_keep_the_prompt_and_equal_a_fresh_model_with_it(openai_clip: Path) -> None:
    model = coop(openai_clip, n_ctx=5, class_token_position="middle")
    context = model.prompt_learner.context
    with torch.no_grad():
        context.normal_(std=0.5)
    before = context.detach().clone()
    new_names = ["zebra (animal)", "cat", "cat", "the_dog"]
    model.set_classes(new_names, tokenizer=model.processor.tokenizer)
    assert model.prompt_learner.context is context
    assert torch.equal(context, before)

    expected = with_context_of(model, coop(openai_clip, new_names, n_ctx=5, class_token_position="middle"))
    assert torch.equal(text_features(model), text_features(expected))
    assert model.config.to_dict() == expected.config.to_dict()
    assert model.config.num_labels == 4


def test_new_classes_are_saved(openai_clip: Path, tmp_path: Path) -> None:
    model = coop(openai_clip)
    model.set_classes(["zebra", "cat"])
    model.save_pretrained(tmp_path)
    loaded = CoOpForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.id2label == {0: "zebra", 1: "cat"}
    assert torch.equal(text_features(loaded), text_features(model))


def test_new_classes_need_no_tokenizer_where_a_processor_was_saved(openai_clip: Path, tmp_path: Path) -> None:
    model = coop(openai_clip)
    model.save_pretrained(tmp_path)
    loaded = CoOpForImageClassification.from_pretrained(tmp_path)
    for given in (None, CoOpProcessor.from_backbone(openai_clip)):
        loaded.set_classes(["zebra", "cat"], tokenizer=given)
        model.set_classes(["zebra", "cat"])
        assert torch.equal(text_features(loaded), text_features(model))


def test_class_specific_context_cannot_change_classes(openai_clip: Path) -> None:
    model = coop(openai_clip, class_specific_context=True)
    before = text_features(model)
    with pytest.raises(ValueError, match="class-specific"):
        model.set_classes(["zebra", "cat", "dog"])
    assert torch.equal(text_features(model), before)
    assert model.config.class_names == NAMES


@pytest.mark.parametrize("names", [[], ["x " * 80], ["cat", ""]])
def test_classes_that_are_refused_leave_the_model_as_it_was(names: list[str], openai_clip: Path) -> None:
    model = coop(openai_clip)
    before, config = text_features(model), model.config.to_dict()
    with pytest.raises(ValueError, match="name"):
        model.set_classes(names)
    assert model.config.to_dict() == config
    assert torch.equal(text_features(model), before)


def test_names_may_repeat(openai_clip: Path, tmp_path: Path) -> None:
    """ImageNet has two classes "missile" and two "sunglasses", so classes are identified by index."""
    names = ["missile", "sunglasses", "missile"]
    model = coop(openai_clip, names, class_specific_context=True)
    model.save_pretrained(tmp_path)
    loaded = CoOpForImageClassification.from_pretrained(tmp_path)
    assert loaded.config.class_names == names
    assert loaded.config.num_labels == 3
    assert loaded.config.label2id["missile"] == 0
    assert loaded.prompt_learner.context.shape == (3, 16, 32)
    assert not torch.equal(text_features(loaded)[0], text_features(loaded)[2])


def test_a_model_without_classes_reports_it(openai_clip: Path) -> None:
    clip_config = coop(openai_clip).config.clip_config
    model = CoOpForImageClassification(CoOpConfig(clip_config=clip_config))
    with pytest.raises(ValueError, match="set_classes"):
        model.get_text_features()


# -- the parts it is made from ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("given", ["tokenizer", "processor"])
def test_the_tokenizer_may_be_elsewhere(given: str, openai_clip: Path, modern_clip: Path) -> None:
    processor = CoOpProcessor.from_backbone(modern_clip)
    model = coop(openai_clip, tokenizer=processor.tokenizer if given == "tokenizer" else processor)
    assert model.processor.tokenizer is processor.tokenizer
    assert torch.equal(text_features(model), text_features(with_context_of(model, coop(openai_clip))))


def test_what_is_no_tokenizer_is_refused(openai_clip: Path) -> None:
    with pytest.raises(TypeError, match="tokenizer"):
        coop(openai_clip, tokenizer=str(openai_clip))


def test_the_backbone_takes_what_its_from_pretrained_takes(openai_clip: Path) -> None:
    model = coop(openai_clip, dtype=torch.bfloat16, attn_implementation="eager")
    assert model.clip.dtype == torch.bfloat16
    assert model.clip.text_model.config._attn_implementation == "eager"
    assert model.prompt_learner.context.dtype == torch.float32
    model.get_text_features().pooler_output.sum().backward()
    assert model.prompt_learner.context.grad.dtype == torch.float32


def test_the_learned_context_is_the_whole_weights_file(openai_clip: Path, tmp_path: Path) -> None:
    coop(openai_clip).save_pretrained(tmp_path)
    header = 8 + int.from_bytes((tmp_path / "model.safetensors").read_bytes()[:8], "little")
    assert (tmp_path / "model.safetensors").stat().st_size == header + 16 * 32 * 4
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["n_ctx"], config["class_token_position"], config["class_specific_context"]) == (16, "end", False)


def test_gradient_checkpointing_changes_no_gradient(modern_clip: Path) -> None:
    gradients = []
    for enabled in (False, True):
        torch.manual_seed(0)
        model = CoOpForImageClassification.from_backbone(modern_clip, ["cat", "dog", "a photo"], n_ctx=3)
        calls = 0

        def count(*_: object) -> None:
            nonlocal calls
            calls += 1

        model.clip.text_model.encoder.layers[0].register_forward_hook(count)
        if enabled:
            model.activation_checkpointing_enable()
        model.train()
        model.get_text_features().pooler_output[0].sum().backward()
        assert calls == (2 if enabled else 1)  # computed again on the way back
        gradients.append(model.prompt_learner.context.grad)
    assert torch.equal(*gradients)


@pytest.mark.parametrize("class_specific_context", [False, True])
@pytest.mark.parametrize("chunk_size", [1, 2, 5, 100])
def test_encoding_text_in_chunks_changes_no_gradient(
    modern_clip: Path, chunk_size: int, class_specific_context: bool
) -> None:
    names = ["cat", "dog", "a photo", "cat of the dog", "dog", "catdog", "the"]
    outcomes = []
    for size in (None, chunk_size):
        torch.manual_seed(0)
        model = coop(
            modern_clip,
            class_names=names,
            n_ctx=3,
            class_specific_context=class_specific_context,
            text_chunk_size=size,
        )
        features = model.get_text_features().pooler_output
        features.mul(torch.arange(7.0)[:, None]).sum().backward()
        outcomes.append((features.detach(), model.context.grad))
    torch.testing.assert_close(*(features for features, _ in outcomes), rtol=0, atol=1e-6)
    torch.testing.assert_close(*(gradient for _, gradient in outcomes), rtol=1e-5, atol=1e-5)


def test_chunks_bound_what_is_kept_for_the_backward_pass(modern_clip: Path) -> None:
    """Activations do not grow with the number of classes."""

    def kept(num_classes: int, text_chunk_size: int | None) -> int:
        names = [f"cat {index}" for index in range(num_classes)]
        model = coop(modern_clip, class_names=names, text_chunk_size=text_chunk_size)
        size = 0

        def pack(tensor: torch.Tensor) -> torch.Tensor:
            nonlocal size
            size += tensor.numel()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            model.get_text_features()
        return size

    assert kept(120, None) > 1.7 * kept(60, None)
    assert kept(120, 10) < 0.2 * kept(120, None)


def test_a_chunk_of_no_classes_is_refused(modern_clip: Path) -> None:
    with pytest.raises(StrictDataclassError, match="text_chunk_size"):
        coop(modern_clip, text_chunk_size=0)


@pytest.mark.parametrize("words", ["a photo of a {}", "a [CLASS]", "a <name> here", "this is %s"])
def test_a_placeholder_in_context_init_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match="placeholder"):
        CoOpForImageClassification.from_backbone(CLIP_DIR, ["a cup", "a key"], context_init=words)


def test_class_names_may_come_from_a_generator() -> None:
    model = CoOpForImageClassification.from_backbone(CLIP_DIR, (name for name in ["a cup", "cafe\u0301"]))
    assert model.config.class_names == ["a cup", "caf\u00e9"]
    assert model.get_text_features().pooler_output.shape[0] == 2
    model.set_classes(iter(["a key", "a fish", "a star"]))
    assert model.config.class_names == ["a key", "a fish", "a star"]
