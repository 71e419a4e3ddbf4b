"""Grounding against the forward pass of the backbones, one painted copy at a time."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F
from transformers import (
    AutoImageProcessor,
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    BertConfig,
    BertForMaskedLM,
    BridgeTowerForMaskedLM,
    CLIPModel,
    FlavaForPreTraining,
    LxmertForPreTraining,
    Trainer,
    TrainingArguments,
    ViltForMaskedLM,
    VisualBertForPreTraining,
)

from hf_prompt_models import CptConfig, CptForVisualGrounding, CptProcessor
from hf_prompt_models.prompts.colors import SEARCHED_COLORS, paint_regions, search_color_prompts
from hf_prompt_models.prompts.region_marks import region_markers
from tests.models.cpt.scenes import random_boxes
from tests.tested_method import random_image
from tests.vision_language_stand_ins import dandelin_vilt_b32_mlm


PHRASE = "the horse watched by the woman"
SIZE = (70, 50)
MASKED = ("vilt", "bridgetower", "flava", "visualbert", "lxmert")
RED = SEARCHED_COLORS[0][1]


def corner_features(picture: Image.Image, boxes: Sequence[Any]) -> np.ndarray:
    """12 numbers of each region: its four quarters' mean colours."""
    return np.stack([np.asarray(picture.crop(box).resize((2, 2))).reshape(-1) / 255 for box in boxes])


def parts(folder: Path, score: str = "log_odds", **choices: Any) -> tuple[CptProcessor, CptForVisualGrounding]:
    return CptProcessor.from_backbone(folder, **choices), CptForVisualGrounding.from_backbone(folder, score=score)


def features_for(processor: CptProcessor) -> dict[str, Any]:
    return {"region_features": corner_features} if processor.image_processor is None else {}


def proposal_logits(processor: CptProcessor, model: CptForVisualGrounding, *args: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**processor(*args, **features_for(processor))).proposal_logits


# -- the backbones' own forward --------------------------------------------------------------------------------------


def squeezed(folder: Path, picture: Image.Image, side: int) -> torch.Tensor:
    processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return processor(picture.resize((side, side), Image.Resampling.BICUBIC), return_tensors="pt")["pixel_values"]


def vilt_logits(folder: Path, picture: Image.Image, text: Any, boxes: Sequence[Any]) -> torch.Tensor:
    pixels = AutoImageProcessor.from_pretrained(folder, backend="pil")(picture, return_tensors="pt")
    return ViltForMaskedLM.from_pretrained(folder)(**text, **pixels).logits[0]


def bridgetower_logits(folder: Path, picture: Image.Image, text: Any, boxes: Sequence[Any]) -> torch.Tensor:
    model = BridgeTowerForMaskedLM.from_pretrained(folder)
    return model(**text, pixel_values=squeezed(folder, picture, 64)).logits[0]


def flava_logits(folder: Path, picture: Image.Image, text: Any, boxes: Sequence[Any]) -> torch.Tensor:
    outputs = FlavaForPreTraining.from_pretrained(folder)(
        **text,
        input_ids_masked=text["input_ids"],
        pixel_values=squeezed(folder, picture, 64),
        return_loss=False,
    )
    return outputs.mmm_text_logits[0, -text["input_ids"].shape[1] :]


def visualbert_logits(folder: Path, picture: Image.Image, text: Any, boxes: Sequence[Any]) -> torch.Tensor:
    features = torch.tensor(corner_features(picture, boxes), dtype=torch.float32)[None]
    outputs = VisualBertForPreTraining.from_pretrained(folder)(
        **text,
        visual_embeds=features,
        visual_attention_mask=torch.ones(features.shape[:2]),
        visual_token_type_ids=torch.ones(features.shape[:2], dtype=torch.long),
    )
    return outputs.prediction_logits[0]


def lxmert_logits(folder: Path, picture: Image.Image, text: Any, boxes: Sequence[Any]) -> torch.Tensor:
    features = torch.tensor(corner_features(picture, boxes), dtype=torch.float32)[None]
    places = torch.tensor(boxes, dtype=torch.float32) / torch.tensor([*picture.size, *picture.size])
    outputs = LxmertForPreTraining.from_pretrained(folder)(**text, visual_feats=features, visual_pos=places[None])
    return outputs.prediction_logits[0]


OWN_LOGITS: dict[str, Callable[..., torch.Tensor]] = {
    "vilt": vilt_logits,
    "bridgetower": bridgetower_logits,
    "flava": flava_logits,
    "visualbert": visualbert_logits,
    "lxmert": lxmert_logits,
}


@torch.no_grad()
def blank(name: str, folder: Path, picture: Image.Image, sentence: str, boxes: Sequence[Any]) -> torch.Tensor:
    """The vocabulary logits at the blank, as the backbone's own class gives them for one painted copy."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    text = tokenizer(sentence.replace("[MASK]", tokenizer.mask_token), return_tensors="pt")
    (place,) = (text["input_ids"][0] == tokenizer.mask_token_id).nonzero()[:, 0]
    return OWN_LOGITS[name](folder, picture, text, boxes)[place]


def word(folder: Path, name: str) -> int:
    (token,) = AutoTokenizer.from_pretrained(folder)(f" {name}", add_special_tokens=False).input_ids
    return token


@pytest.mark.parametrize("name", MASKED)
def test_the_score_is_the_backbone_s_own_logit_of_red_less_that_of_none(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    processor, model = parts(folder)
    image, boxes = random_image(size=SIZE), random_boxes(3, SIZE)
    found = proposal_logits(processor, model, image, PHRASE, boxes)
    expected = []
    for box in boxes:
        z = blank(name, folder, paint_regions(image, [box], [RED]), f"{PHRASE} is in [MASK] color.", boxes)
        expected.append(z[word(folder, "red")] - z[word(folder, "none")])
    torch.testing.assert_close(found, torch.stack(expected)[None], rtol=1e-4, atol=2e-5)
    assert found.std() > 1e-3  # the paint shows


@pytest.mark.parametrize("name", MASKED)
def test_several_colours_calibrated_by_an_anchor_and_an_empty_phrase(
    name: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(name)
    processor, model = parts(
        folder, "logit", mode="multi_color", calibration="anchor", colors=SEARCHED_COLORS[:3], reference_phrases=[""]
    )
    image, boxes = random_image(size=SIZE), random_boxes(4, SIZE)
    found = proposal_logits(processor, model, image, PHRASE, boxes)

    def scores(shown: list[int]) -> list[torch.Tensor]:
        colors = SEARCHED_COLORS[: len(shown)]
        picture = paint_regions(image, [boxes[region] for region in shown], [rgb for _, rgb in colors])
        z = blank(name, folder, picture, f"{PHRASE} is in [MASK] color.", boxes)
        z = z - blank(name, folder, picture, "is in [MASK] color.", boxes)
        return [z[word(folder, color)] for color, _ in colors]

    first, second = scores([0, 1, 2]), scores([0, 3])
    expected = torch.stack([*first, second[1] - second[0] + first[0]])
    torch.testing.assert_close(found, expected[None], rtol=1e-4, atol=5e-5)


@pytest.mark.parametrize("score", ["log_odds", "logit", "logit_ratio", "prob"])
def test_every_score_in_several_colours(score: str, vilt: Path) -> None:
    processor, model = parts(vilt, score, mode="multi_color", colors=SEARCHED_COLORS[:2])
    image, boxes = random_image(size=SIZE), random_boxes(3, SIZE)
    found = proposal_logits(processor, model, image, PHRASE, boxes)[0].tolist()
    expected = []
    for shown in ([0, 1], [2]):
        colors = SEARCHED_COLORS[: len(shown)]
        picture = paint_regions(image, [boxes[region] for region in shown], [rgb for _, rgb in colors])
        z = blank("vilt", vilt, picture, f"{PHRASE} is in [MASK] color.", boxes).double()
        none, named = z[word(vilt, "none")], [z[word(vilt, color)] for color, _ in colors]
        total = none.exp() + sum(each.exp() for each in named)
        by_definition = {
            "log_odds": [each - none for each in named],
            "logit": named,
            "logit_ratio": [each / none for each in named],
            "prob": [each.exp() / total for each in named],
        }
        expected += [each.item() for each in by_definition[score]]
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-5)


@torch.no_grad()
def clip_similarities(folder: Path, pictures: list[Image.Image], sentences: list[str]) -> torch.Tensor:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    pixels = torch.cat([squeezed(folder, picture, 224) for picture in pictures])
    model = CLIPModel.from_pretrained(folder)
    rows = [model(**tokenizer(each, return_tensors="pt"), pixel_values=pixels).logits_per_image for each in sentences]
    return torch.cat(rows, dim=1)


def test_a_clip_compares_copies_with_sentences(openai_clip: Path) -> None:
    image, boxes = random_image(size=SIZE), random_boxes(3, SIZE)
    pictures = [paint_regions(image, [box], [RED]) for box in boxes]
    sentences = [f"{PHRASE} is in {name} color." for name in ("red", "none")]
    similarities = clip_similarities(openai_clip, pictures, sentences)
    for score, expected in (
        ("logit", similarities[:, 0]),
        ("log_odds", similarities[:, 0] - similarities[:, 1]),
        ("prob", similarities.softmax(dim=1)[:, 0]),
    ):
        found = proposal_logits(*parts(openai_clip, score), image, PHRASE, boxes)
        torch.testing.assert_close(found, expected[None], rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("mode", ["circle", "crop", "blur", "grey", ["circle", "crop", "blur"]])
def test_a_clip_takes_other_marks_and_subtracts_other_phrases(mode: str | list[str], openai_clip: Path) -> None:
    image, boxes, others = random_image(size=SIZE), random_boxes(3, SIZE), ["a dog", "the cat on the left"]
    processor, model = parts(openai_clip, mode=mode, reference_phrases=others)
    found = proposal_logits(processor, model, image, PHRASE, boxes)
    marks: Any = [mode] if isinstance(mode, str) else mode
    of_marks = []
    for mark in marks:
        pictures = [draw() for draw in region_markers(image, [tuple(box) for box in boxes], mark)]
        z = clip_similarities(openai_clip, pictures, [f"a photo of {each}" for each in (PHRASE, *others)])
        of_marks.append(z[:, 0] - z[:, 1:].mean(dim=1))
    torch.testing.assert_close(found, torch.stack(of_marks).mean(dim=0)[None], rtol=1e-4, atol=2e-4)


def test_scores_that_compare_with_none_need_a_blank(openai_clip: Path) -> None:
    processor, model = parts(openai_clip, "prob", mode="crop")
    with pytest.raises(ValueError, match="Use score='logit'"):
        proposal_logits(processor, model, random_image(size=SIZE), PHRASE, random_boxes(2, SIZE))


# -- nothing else changes a score ------------------------------------------------------------------------------------


COUNTS = (1, 3, 4, 60)
SIZES = ((70, 50), (40, 90), (64, 64), (120, 40))
PHRASES = (PHRASE, "a dog", "left", "the cat on the right of the red dog is the one")


def ragged_batch() -> dict[str, Any]:
    return {
        "images": [random_image(index, size) for index, size in enumerate(SIZES)],
        "text": list(PHRASES),
        "boxes": [random_boxes(count, size) for count, size in zip(COUNTS, SIZES, strict=True)],
    }


@pytest.mark.parametrize(
    "choices",
    [
        {},
        {"mode": "multi_color", "colors": SEARCHED_COLORS[:3]},
        {"mode": "multi_color", "colors": SEARCHED_COLORS[:3], "calibration": "anchor"},
        {"reference_phrases": [""]},
    ],
    ids=str,
)
def test_scores_do_not_depend_on_batch_padding_or_parts(choices: dict[str, Any], vilt: Path) -> None:
    processor, model = parts(vilt, **choices)
    batch = ragged_batch()
    together = proposal_logits(processor, model, *batch.values())
    assert together.shape == (4, 60)
    for index, count in enumerate(COUNTS):
        alone = proposal_logits(processor, model, *(values[index] for values in batch.values()))
        assert alone.shape == (1, count)
        torch.testing.assert_close(together[index, :count], alone[0], rtol=0, atol=2e-5)
        assert together[index, count:].isneginf().all()
    for most in (1, 7):
        model.config.max_copies_per_forward = most
        in_parts = proposal_logits(processor, model, *batch.values())
        torch.testing.assert_close(in_parts, together, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", [*MASKED, "openai_clip"])
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
def test_an_exported_graph_scores_as_the_model_does(name: str, request: pytest.FixtureRequest) -> None:
    processor, model = parts(request.getfixturevalue(name))
    model.eval()
    batch = {key: values[1:3] for key, values in ragged_batch().items()}
    if name == "vilt":
        batch["images"] = [batch["images"][0]] * 2
    inputs = dict(processor(*batch.values(), **features_for(processor)))
    assert (inputs["copy_mask"] == 0).any()
    with torch.no_grad():
        expected = model(**inputs)
        exported = torch.export.export(model, (), inputs).module()(**inputs)
    torch.testing.assert_close(exported.proposal_logits, expected.proposal_logits, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(exported.mask_logits, expected.mask_logits, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize("name", [*MASKED[1:], "openai_clip"])
def test_other_backbones_do_not_mind_the_batch_either(name: str, request: pytest.FixtureRequest) -> None:
    processor, model = parts(request.getfixturevalue(name))
    batch = {key: values[:3] for key, values in ragged_batch().items()}
    together = proposal_logits(processor, model, *batch.values())
    model.config.max_copies_per_forward = 2
    for index, count in enumerate(COUNTS[:3]):
        alone = proposal_logits(processor, model, *(values[index] for values in batch.values()))
        torch.testing.assert_close(together[index, :count], alone[0], rtol=1e-5, atol=2e-5)


def test_regions_have_no_order_in_one_colour(vilt: Path) -> None:
    processor, model = parts(vilt)
    image, boxes, order = random_image(size=SIZE), random_boxes(5, SIZE), [3, 0, 4, 1, 2]
    found = proposal_logits(processor, model, image, PHRASE, boxes)
    turned = proposal_logits(processor, model, image, PHRASE, [boxes[place] for place in order])
    torch.testing.assert_close(turned, found[:, order], rtol=0, atol=1e-5)


def test_the_same_input_gives_the_same_output_and_draws_nothing(vilt: Path) -> None:
    """transformers' ViLT draws its patches' order, and with max_image_length which of them it sees."""
    processor, model = parts(vilt)
    inputs = processor(random_image(size=SIZE), PHRASE, random_boxes(3, SIZE))
    state = torch.get_rng_state()
    with torch.no_grad():
        first = model(**inputs).proposal_logits
        assert torch.equal(torch.get_rng_state(), state)
        model.tower.config.max_image_length = 2
        assert torch.equal(model(**inputs).proposal_logits, first)


def test_an_image_taller_than_the_pre_training_s_has_interpolated_positions(tmp_path: Path) -> None:
    folder = dandelin_vilt_b32_mlm(tmp_path, image_size=64)
    image, box = random_image(size=(50, 82)), [5, 5, 30, 60]
    found = proposal_logits(*parts(folder, "logit"), image, PHRASE, [box])
    z = blank("vilt", folder, paint_regions(image, [box], [RED]), f"{PHRASE} is in [MASK] color.", [box])
    torch.testing.assert_close(found[0, 0], z[word(folder, "red")], rtol=0, atol=1e-5)


# -- training --------------------------------------------------------------------------------------------------------


def new_training_batch(processor: CptProcessor) -> dict[str, torch.Tensor]:
    boxes = [random_boxes(5, SIZE, seed) for seed in range(3)]
    return dict(
        processor(
            images=[random_image(index, SIZE) for index in range(3)],
            text=list(PHRASES[:3]),
            boxes=boxes,
            target_boxes=[boxes[0][3], boxes[1][0], [0, 0, 1, 1]],
        )
    )


@pytest.mark.parametrize("mode", ["single_color", "multi_color"])
@pytest.mark.parametrize("loss", ["vocab_ce", "palette_ce", "listwise"])
def test_each_loss_is_what_the_blank_s_logits_say(loss: str, mode: str, vilt: Path) -> None:
    processor = CptProcessor.from_backbone(vilt, mode=mode, colors=SEARCHED_COLORS[:3])
    model = CptForVisualGrounding.from_backbone(vilt, loss=loss)
    batch = new_training_batch(processor)
    with torch.no_grad():
        outputs = model(**batch)
    words = [word(vilt, name) for name, _ in SEARCHED_COLORS[:3]]
    none = word(vilt, "none")
    losses = []
    for example in range(3):
        overlaps = batch["labels"][example]
        if loss == "listwise":
            chances = outputs.proposal_logits[example].double().softmax(dim=0)
            if (overlaps > 0.5).any():
                losses.append(-chances[overlaps > 0.5].sum().log())
            continue
        for z, shown in zip(outputs.mask_logits[example].double(), batch["region_index"][example], strict=True):
            shown = [region for region in shown.tolist() if region >= 0]
            if not shown:
                continue
            best = max(range(len(shown)), key=lambda slot: overlaps[shown[slot]])
            target = words[best] if overlaps[shown[best]] > 0.5 else none
            among = range(len(z)) if loss == "vocab_ce" else [*words[: len(shown)], none]
            losses.append(z[list(among)].logsumexp(0) - z[target])
    assert outputs.loss.item() == pytest.approx(torch.stack(losses).mean().item(), rel=1e-5)


@pytest.mark.parametrize("loss", ["vocab_ce", "listwise"])
def test_gradients_do_not_depend_on_parts(loss: str, vilt: Path) -> None:
    gradients = []
    for most in (None, 1, 4):
        model = CptForVisualGrounding.from_backbone(
            vilt, loss=loss, max_copies_per_forward=most, trainable="all"
        ).train()
        model(**new_training_batch(CptProcessor.from_backbone(vilt))).loss.backward()
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for in_parts in gradients[1:]:
        for name, gradient in gradients[0].items():
            if gradient is None:
                assert in_parts[name] is None, name
            else:
                torch.testing.assert_close(in_parts[name], gradient, rtol=1e-4, atol=1e-5)


def test_tuning_with_the_trainer_learns_and_its_checkpoint_holds_the_backbone(tmp_path: Path) -> None:
    backbone = dandelin_vilt_b32_mlm(tmp_path / "backbone")
    processor = CptProcessor.from_backbone(backbone)
    model = CptForVisualGrounding.from_backbone(backbone, trainable="all", loss="listwise")
    batch = new_training_batch(processor)
    before = model(**batch).loss.item()
    arguments = TrainingArguments(
        output_dir=str(tmp_path / "run"),
        max_steps=8,
        per_device_train_batch_size=3,
        learning_rate=1e-3,
        use_cpu=True,
        report_to="none",
        disable_tqdm=True,
        save_steps=8,
    )
    examples = [{name: tensor[index] for name, tensor in batch.items()} for index in range(3)]
    Trainer(model=model, args=arguments, train_dataset=examples).train()
    model.eval()
    after = model(**batch)
    assert after.loss.item() < before / 2
    shutil.rmtree(backbone)
    loaded = AutoModel.from_pretrained(tmp_path / "run" / "checkpoint-8")
    assert loaded.config.trainable == "all"
    assert loaded.config.weights_scope == "full"
    torch.testing.assert_close(loaded(**batch).proposal_logits, after.proposal_logits)
    frozen = {name for name, parameter in loaded.named_parameters() if not parameter.requires_grad}
    assert frozen == {"tower.vilt.pooler.dense.weight", "tower.vilt.pooler.dense.bias"}  # which nothing reads


def test_zero_shot_learns_nothing(vilt: Path, tmp_path: Path) -> None:
    model = CptForVisualGrounding.from_backbone(vilt)
    assert not any(parameter.requires_grad for parameter in model.parameters())
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))
    assert model.config.weights_scope == "prompt"


def test_the_backbone_may_be_gone_after_saving_with_it(tmp_path: Path) -> None:
    backbone = dandelin_vilt_b32_mlm(tmp_path / "backbone")
    processor, model = parts(backbone, "logit", mode="multi_color")
    expected = proposal_logits(processor, model, random_image(size=SIZE), PHRASE, random_boxes(7, SIZE))
    model.save_pretrained(tmp_path / "saved", save_backbone=True)
    processor.save_pretrained(tmp_path / "saved")
    shutil.rmtree(backbone)
    loaded = AutoModel.from_pretrained(tmp_path / "saved")
    assert type(loaded) is CptForVisualGrounding
    assert loaded.config.score == "logit"
    again = CptProcessor.from_pretrained(tmp_path / "saved")
    found = proposal_logits(again, loaded, random_image(size=SIZE), PHRASE, random_boxes(7, SIZE))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("scope", ["prompt", "full"])
@pytest.mark.parametrize("name", [*MASKED[1:], "openai_clip"])
def test_every_backbone_is_saved_and_loaded(
    name: str, scope: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    processor, model = parts(request.getfixturevalue(name))
    expected = proposal_logits(processor, model, random_image(size=SIZE), PHRASE, random_boxes(2, SIZE))
    model.save_pretrained(tmp_path, save_backbone=scope == "full")
    loaded, again = AutoModel.from_pretrained(tmp_path), AutoProcessor.from_pretrained(tmp_path)
    assert loaded.config.weights_scope == scope
    found = proposal_logits(again, loaded, random_image(size=SIZE), PHRASE, random_boxes(2, SIZE))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("name", [*MASKED, "openai_clip"])
@pytest.mark.parametrize("halved", ["backbone", "autocast"])
def test_every_backbone_is_tuned_in_bf16(name: str, halved: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    processor = CptProcessor.from_backbone(folder)
    dtype = torch.bfloat16 if halved == "backbone" else torch.float32
    model = CptForVisualGrounding.from_backbone(folder, trainable="all", max_copies_per_forward=2, dtype=dtype)
    inputs = processor(
        [random_image(0, (60, 40)), random_image(1, (40, 60))],
        ["the horse", "a dog"],
        [random_boxes(3, (60, 40)), random_boxes(2, (40, 60))],
        target_boxes=[[0, 0, 9, 9]] * 2,
        **features_for(processor),
    )
    exact = CptForVisualGrounding.from_backbone(folder)(**inputs)
    with torch.autocast("cpu", torch.bfloat16, enabled=halved == "autocast"):
        outputs = model(**inputs)
    outputs.loss.backward()
    assert outputs.loss.dtype == torch.float32
    torch.testing.assert_close(outputs.loss, exact.loss, rtol=0.2, atol=0.2)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters() if parameter.grad is not None)


def test_a_processor_that_was_saved_first_stays(vilt: Path, tmp_path: Path) -> None:
    model = CptForVisualGrounding.from_backbone(vilt)
    CptProcessor.from_backbone(vilt, mode="multi_color", alpha=99).save_pretrained(tmp_path)
    model.save_pretrained(tmp_path)
    assert CptProcessor.from_pretrained(tmp_path).alpha == 99
    model.processor = CptProcessor.from_backbone(vilt, alpha=50)  # one that was chosen goes there
    model.save_pretrained(tmp_path)
    assert CptProcessor.from_pretrained(tmp_path).alpha == 50
    assert CptProcessor.from_pretrained(tmp_path).mode == "single_color"


def test_a_zero_shot_checkpoint_can_be_tuned_on(vilt: Path, tmp_path: Path) -> None:
    CptForVisualGrounding.from_backbone(vilt).save_pretrained(tmp_path / "zero-shot")
    model = CptForVisualGrounding.from_pretrained(tmp_path / "zero-shot", trainable="all", loss="palette_ce")
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert all(name.startswith("tower.vilt.pooler.") for name in frozen)
    model.save_pretrained(tmp_path / "tuned")
    assert list((tmp_path / "tuned").glob("*.safetensors"))
    assert AutoModel.from_pretrained(tmp_path / "tuned").config.loss == "palette_ce"


def test_another_backbone_of_the_same_size_is_refused(vilt: Path, tmp_path: Path) -> None:
    model = CptForVisualGrounding.from_backbone(vilt)
    model.save_pretrained(tmp_path / "saved")
    other = dandelin_vilt_b32_mlm(tmp_path / "other", seed=1)
    with pytest.raises(ValueError, match="trained with another backbone"):
        CptForVisualGrounding.from_pretrained(tmp_path / "saved", base_model_name_or_path=other)


# -- words for complete images ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["vilt", "bridgetower", "flava"])
def test_a_word_s_probability_is_over_the_vocabulary(name: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(name)
    processor, model = parts(folder)
    pictures = [random_image(index, SIZE) for index in range(2)]
    found = model.word_probabilities(processor, pictures, "a photo in [MASK] color.", ["red", "blue"])
    for row, picture in zip(found, pictures, strict=True):
        chances = blank(name, folder, picture, "a photo in [MASK] color.", []).softmax(dim=0)
        expected = torch.stack([chances[word(folder, "red")], chances[word(folder, "blue")]])
        torch.testing.assert_close(row, expected, rtol=1e-4, atol=1e-7)


def test_a_clip_s_words_are_compared_with_each_other(openai_clip: Path) -> None:
    processor, model = parts(openai_clip)
    picture, words = random_image(size=SIZE), ["red", "blue", "green"]
    found = model.word_probabilities(processor, [picture], "a photo in [MASK] color.", words)
    similarities = clip_similarities(openai_clip, [picture], [f"a photo in {each} color." for each in words])
    torch.testing.assert_close(found, similarities.softmax(dim=1), rtol=1e-3, atol=1e-6)


def test_colours_are_searched_with_a_backbone(vilt: Path) -> None:
    processor, model = parts(vilt)
    found = search_color_prompts(model, processor, ["red", "blue"], rgb_step=128, batch_size=7)
    for name, rgb, probability in found:
        block = Image.new("RGB", (128, 128), rgb)
        alone = model.word_probabilities(processor, [block], "a photo in [MASK] color.", [name])
        assert probability == pytest.approx(alone.item(), rel=1e-4)
    CptProcessor.from_backbone(vilt, mode="multi_color", colors=[(name, rgb) for name, rgb, _ in found])


def test_words_about_whole_images_need_a_blank_and_pixels(vilt: Path, lxmert: Path) -> None:
    with pytest.raises(ValueError, match=r"one \[MASK\] in a sentence"):
        CptProcessor.from_backbone(vilt).for_words([random_image()], "a photo", ["red"])
    with pytest.raises(ValueError, match="instead of complete images"):
        CptProcessor.from_backbone(lxmert).for_words([random_image()], "a [MASK] photo", ["red"])


# -- refusals and the answer -----------------------------------------------------------------------------------------


def test_a_backbone_that_fills_in_no_blanks_about_images_is_refused(tmp_path: Path) -> None:
    config = BertConfig(hidden_size=8, num_attention_heads=1, num_hidden_layers=1, intermediate_size=8, vocab_size=9)
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with pytest.raises(TypeError, match=r"bert.*ViltForMaskedLM"):
        CptForVisualGrounding.from_backbone(tmp_path)
    with pytest.raises(TypeError, match="of type 'bert'"):
        CptProcessor.from_backbone(tmp_path)


@pytest.mark.parametrize("choices", [{"score": "odds"}, {"loss": "mse"}, {"max_copies_per_forward": 0}])
def test_choices_that_are_none_are_refused(choices: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(choices))):
        CptConfig(**choices)


def test_regions_come_back_best_first(vilt: Path) -> None:
    processor, model = parts(vilt)
    boxes = [random_boxes(3, SIZE), [*random_boxes(1, SIZE), [60, 40, 90, 99]]]
    with torch.no_grad():
        outputs = model(**processor([random_image(size=SIZE)] * 2, [PHRASE, "a dog"], boxes))
    results = processor.post_process_visual_grounding(outputs, boxes, [(50, 70), (50, 70)])
    for result, logits, given in zip(results, outputs.proposal_logits, boxes, strict=True):
        chances = F.softmax(logits[: len(given)], dim=0)
        assert result["index"].tolist() == chances.argsort(descending=True).tolist()
        torch.testing.assert_close(result["scores"], chances.sort(descending=True).values)
    corner = results[1]["index"].tolist().index(1)
    assert results[1]["boxes"][corner].tolist() == [60, 40, 70, 50]  # clipped to the image
    with pytest.raises(ValueError, match="Example 0 has 2 boxes, but outputs for 3"):
        processor.post_process_visual_grounding(outputs, [boxes[0][:2], boxes[1]])
