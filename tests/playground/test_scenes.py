"""Scenes: phrases and captions are true; files; and the tiny ViLT, which was not trained on painted regions."""

import json
import runpy
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer, ViltForMaskedLM

from hf_prompt_models import CptForVisualGrounding, CptProcessor
from hf_prompt_models.playground import VILT_DIR
from hf_prompt_models.playground.scenes import (
    KINDS,
    SCENE_SHAPES,
    SIZES,
    SceneObject,
    draw_expression,
    draw_scene,
    unique_phrases,
    write_scene_folder,
)
from hf_prompt_models.prompts.colors import SEARCHED_COLORS, paint_regions
from scripts.playground import vilt
from scripts.playground.scene_captions import state
from scripts.playground.vilt import (
    Stage,
    build_vilt,
    encode_statements,
    masked_logits,
    pretrain_vilt,
    scene_tokenizer,
)


SCRIPT = Path(__file__).parents[2] / "scripts" / "make_playground.py"
COLOURLESS = {"black", "white", "grey"}


RELATIONS = ("left of", "right of", "above", "below", "larger than", "smaller than", "of the same color as")


def _related(one: SceneObject, relation: str, other: SceneObject) -> bool:
    (x, y), (other_x, other_y) = one.middle, other.middle
    return {
        "left of": x < other_x - 0.15,
        "right of": x > other_x + 0.15,
        "above": y < other_y - 0.15,
        "below": y > other_y + 0.15,
        "larger than": (one.size, other.size) == ("large", "small"),
        "smaller than": (one.size, other.size) == ("small", "large"),
        "of the same color as": one.colour == other.colour,
    }[relation]


def _meant(text: str, objects: tuple[SceneObject, ...]) -> list[int]:
    """Which objects a phrase is true of, by its words alone: the slow reference of `unique_phrases`."""
    for relation in RELATIONS:
        if f" {relation} the " in text:
            head, anchor_text = text.split(f" {relation} ")
            (anchor,) = _meant(anchor_text, objects)
            return [
                index
                for index in _meant(head, objects)
                if index != anchor and _related(objects[index], relation, objects[anchor])
            ]
    found = []
    for index, thing in enumerate(objects):
        column, row = (int(3 * part) for part in thing.middle)
        places = {("left", "middle", "right")[column], ("top", "middle", "bottom")[row]}
        if set(text.split()) <= {"object", "on", "at", "the", thing.shape, thing.size, thing.colour, *places}:
            found.append(index)
    return found


# -- scenes and phrases ----------------------------------------------------------------------------------------------


def test_a_scene_depends_on_split_seed_and_index_alone() -> None:
    again = draw_scene("test", 3, 4)
    assert again.objects == draw_scene("test", 3, 4).objects
    assert again.image.tobytes() == draw_scene("test", 3, 4).image.tobytes()
    scenes = [
        draw_scene(split, seed, index)
        for split in ("pretraining", "train", "test")
        for seed in (3, 4)
        for index in (0, 1)
    ]
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)


def test_objects_stand_apart_in_boxes_that_fit_their_size() -> None:
    for index in range(40):
        scene = draw_scene("train", 0, index, objects=1 + index % 4, size=96)
        assert len(scene.objects) == 1 + index % 4
        for thing in scene.objects:
            x1, y1, x2, y2 = thing.box
            assert 0 <= x1 < x2 <= 96
            assert 0 <= y1 < y2 <= 96
            assert x1 < thing.middle[0] * 96 < x2
            least, most = SIZES[thing.size]
            assert 0.7 * least < max(x2 - x1, y2 - y1) / 96 < 1.2 * most
        for one, other in combinations(scene.objects, 2):
            assert (
                one.box[2] <= other.box[0]
                or other.box[2] <= one.box[0]
                or (one.box[3] <= other.box[1] or other.box[3] <= one.box[1])
            )


def test_what_stands_out_of_the_ground_is_in_a_box() -> None:
    for index in range(30):
        scene = draw_scene("test", 0, index, objects=1)
        pixels = np.asarray(scene.image, dtype=float)
        x1, y1, x2, y2 = scene.objects[0].box
        away = np.abs(pixels - np.median(pixels, axis=(0, 1))).sum(axis=-1)
        inside = np.zeros(away.shape, dtype=bool)
        inside[y1:y2, x1:x2] = True
        assert away[inside].mean() > 2 * away[~inside].mean()


def test_every_phrase_is_true_of_its_object_alone() -> None:
    kinds = set()
    for index in range(60):
        objects = draw_scene("train", 1, index, objects=1 + index % 4).objects
        for phrase in unique_phrases(objects):
            kinds.add(phrase.kind)
            assert _meant(phrase.text, objects) == [phrase.target], (phrase, objects)
    assert kinds == {"shape", "size", "position", "color", "relation"}


def test_captions_are_true_and_never_ask_a_colour_that_the_phrase_says() -> None:
    rng = np.random.default_rng(0)
    asked = set()
    for index in range(80):
        objects = draw_scene("pretraining", 1, index, objects=1 + index % 4).objects
        phrases = unique_phrases(objects)
        for _ in range(5):
            statement = state(objects, rng, phrases)
            text = " ".join(statement.words)
            asked.add(statement.words[statement.answer])
            phrase, predicate = text.removesuffix(" .").rsplit(" is ", 1)
            (meant,) = _meant(phrase, objects)
            thing = objects[meant]
            if predicate.endswith("color"):
                said = predicate.split()[1]
                assert said == thing.colour or (said == "none" and thing.colour in COLOURLESS)
                assert said not in phrase.split()
            else:
                assert meant in _meant(
                    f"the object {predicate}" if " the " in predicate else f"the {predicate.split()[-1]}", objects
                )
    assert {"red", "none", "small", "left", *SCENE_SHAPES} <= asked


# -- files -----------------------------------------------------------------------------------------------------------


def test_the_files_hold_images_phrases_and_all_boxes(tmp_path: Path) -> None:
    write_scene_folder(tmp_path, seed=2, train=3, test=5, size=64)
    annotations = json.loads((tmp_path / "test" / "annotations.json").read_text())
    proposals = json.loads((tmp_path / "test" / "proposals.json").read_text())
    assert [entry["id"] for entry in annotations] == list(range(5))
    for index, entry in enumerate(annotations):
        scene, phrase = draw_expression("test", 2, index, KINDS["attributes"], 4, 64)
        with Image.open(tmp_path / "test" / entry["file_name"]) as image:
            assert image.tobytes() == scene.image.tobytes()
            assert image.size == (entry["width"], entry["height"]) == (64, 64)
        boxes = [
            [x, y, x + width, y + height] for x, y, width, height in (p["box"] for p in proposals[entry["file_name"]])
        ]
        assert boxes == [list(thing.box) for thing in scene.objects]
        assert (entry["caption"], entry["kind"]) == (phrase.text, phrase.kind)
        assert entry["bbox"] == proposals[entry["file_name"]][phrase.target]["box"]
    assert len(json.loads((tmp_path / "train" / "annotations.json").read_text())) == 3


def test_the_script_writes_the_same_bytes_again_and_fewer_are_the_first_of_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, count in (("one", 2), ("again", 2), ("more", 3)):
        flags = ["scenes", str(tmp_path / name), "--seed", "5", "--phrases", "relations", "--train", "1"]
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *flags, "--test", str(count)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    one, again, more = (
        {str(path.relative_to(tmp_path / name)): path.read_bytes() for path in (tmp_path / name).rglob("*.*")}
        for name in ("one", "again", "more")
    )
    assert one == again
    assert {name: content for name, content in one.items() if name.endswith(".png")}.items() <= more.items()
    captions = json.loads(one["test/annotations.json"])
    assert captions == json.loads(more["test/annotations.json"])[:2]
    assert {entry["kind"] for entry in captions} == {"relation"}


def test_scenes_without_a_fitting_phrase_are_refused() -> None:
    with pytest.raises(ValueError, match=r"1 object\(s\) have no phrases of the kind relation"):
        draw_expression("test", 0, 0, ("relation",), objects=1)
    with pytest.raises(ValueError, match="1 to 4 objects in a scene, got 5"):
        draw_scene("test", 0, 0, objects=5)


# -- pre-training never paints a region ------------------------------------------------------------------------------


def _tint(image: Image.Image, thing: SceneObject) -> float:
    """How far the ground in the corners of an object's box is from the ground just outside of them, 0 to 255."""
    pixels = np.pad(np.asarray(image, dtype=float), ((1, 1), (1, 1), (0, 0)), mode="edge")
    x1, y1, x2, y2 = thing.box
    corners = [(y1 + 1, x1 + 1, -1), (y1 + 1, x2, 1), (y2, x1 + 1, -1), (y2, x2, 1)]
    return float(np.mean([np.abs(pixels[y, x] - pixels[y, x + aside]).mean() for y, x, aside in corners]))


def test_no_region_of_a_pre_training_scene_is_painted() -> None:
    plain, painted = [], []
    for index in range(60):
        scene = draw_scene("pretraining", 0, index)
        for thing in scene.objects:
            if thing.shape in ("circle", "ring"):  # they leave the corners of their boxes empty
                plain.append(_tint(scene.image, thing))
                _, rgb = SEARCHED_COLORS[len(painted) % len(SEARCHED_COLORS)]
                painted.append(_tint(paint_regions(scene.image, [thing.box], [rgb]), thing))
    assert len(plain) > 40
    assert np.mean(plain) < 12
    assert np.mean(painted) > 40


def test_pre_training_sees_the_scenes_as_they_are_drawn_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[torch.Tensor] = []

    def spy(model: ViltForMaskedLM, pixels: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        seen.append(pixels)
        return masked_logits(model, pixels, *rest)

    monkeypatch.setattr(vilt, "masked_logits", spy)
    monkeypatch.setattr(vilt, "BATCH_SIZE", 4)
    monkeypatch.setattr(vilt, "WARMUP_STEPS", 2)
    curriculum = [Stage(1, 5, -1.0), Stage(4, 5, 1.0)]
    pretrain_vilt(
        tmp_path / "vilt", seed=9, steps=4, cooldown_steps=2, curriculum=curriculum, cooldown=Stage(4, 3, 1.0)
    )
    drawn = {
        draw_scene("pretraining", 9, index, stage.objects).image.tobytes()
        for stage in curriculum
        for index in range(5)
    }
    batches = torch.stack(seen)
    assert batches.shape == (6, 4, 3, 48, 48)
    pixels = ((batches.flatten(0, 1) + 1) * 127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert {picture.numpy().tobytes() for picture in pixels} <= drawn
    ViltForMaskedLM.from_pretrained(tmp_path / "vilt")


# -- the tiny ViLT ---------------------------------------------------------------------------------------------------


def test_masked_logits_are_those_of_the_model() -> None:
    torch.manual_seed(0)
    tokenizer = scene_tokenizer()
    model = build_vilt(tokenizer).eval()
    rng = np.random.default_rng(0)
    scenes = [draw_scene("train", 0, index) for index in range(3)]
    captions = [[state(scene.objects, rng, unique_phrases(scene.objects)) for _ in range(2)] for scene in scenes]
    tokens, labels = encode_statements(captions, tokenizer)
    pixels = torch.stack([torch.from_numpy(np.array(scene.image)).permute(2, 0, 1) / 127.5 - 1 for scene in scenes])
    with torch.no_grad():
        whole = model(input_ids=tokens, attention_mask=(tokens != 0).long(), pixel_values=pixels).logits
        torch.testing.assert_close(
            masked_logits(model, pixels, tokens, labels != -100), whole[labels != -100], atol=1e-5, rtol=1e-5
        )


def test_statements_are_encoded_as_the_tokenizer_encodes_them() -> None:
    tokenizer = scene_tokenizer()
    rng = np.random.default_rng(1)
    scenes = [draw_scene("train", 0, index) for index in range(20)]
    captions = [[state(scene.objects, rng, unique_phrases(scene.objects)) for _ in range(2)] for scene in scenes]
    tokens, labels = encode_statements(captions, tokenizer)
    texts = [
        " ".join(
            "[MASK]" if place == said.answer else word for said in caption for place, word in enumerate(said.words)
        )
        for caption in captions
    ]
    assert torch.equal(tokens, tokenizer(texts, padding=True, return_tensors="pt")["input_ids"])
    answers = [tokenizer.convert_tokens_to_ids(said.words[said.answer]) for caption in captions for said in caption]
    assert labels[labels != -100].tolist() == answers
    assert (tokens[labels != -100] == tokenizer.mask_token_id).all()


def test_the_shipped_folder_is_small_and_complete() -> None:
    sizes = {path.name: path.stat().st_size for path in Path(VILT_DIR).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= sizes.keys()
    assert sum(sizes.values()) < 4_000_000


def test_the_shipped_tokenizer_has_colours_in_one_piece_and_knows_every_word() -> None:
    tokenizer = AutoTokenizer.from_pretrained(VILT_DIR)
    assert tokenizer.get_vocab() == scene_tokenizer().get_vocab()
    for word in (*(name for name, _ in SEARCHED_COLORS), "none", "black", "brown", *SCENE_SHAPES):
        assert tokenizer.tokenize(word) == [word]
    assert tokenizer.unk_token_id not in tokenizer("a zebra, the (2nd) one!")["input_ids"]


def test_the_shipped_processor_keeps_the_pixels_of_a_scene() -> None:
    image = draw_scene("test", 0, 0).image
    inputs = AutoProcessor.from_pretrained(VILT_DIR)(image, "the ring is in [MASK] color.", return_tensors="pt")
    expected = torch.from_numpy(np.array(image)).permute(2, 0, 1) / 127.5 - 1
    torch.testing.assert_close(inputs["pixel_values"][0], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("mode", ["single_color", "multi_color"])
def test_the_shipped_vilt_grounds_phrases_without_having_seen_paint(mode: str) -> None:
    model = CptForVisualGrounding.from_backbone(VILT_DIR).eval()
    processor = CptProcessor.from_backbone(VILT_DIR, mode=mode)
    examples = [draw_expression("test", 77, index) for index in range(100)]
    inputs = processor(
        images=[scene.image for scene, _ in examples],
        text=[phrase.text for _, phrase in examples],
        boxes=[[thing.box for thing in scene.objects] for scene, _ in examples],
    )
    with torch.no_grad():
        chosen = model(**inputs).proposal_logits.argmax(dim=1)
    right = chosen == torch.tensor([phrase.target for _, phrase in examples])
    assert right.float().mean() > 0.42  # chance is 0.25
