"""The tiny ALPRO: the packaged model is small and accurate on its clips, and its pre-training runs."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer

from hf_prompt_models import AlproForPreTraining, AlproForVideoTextRetrieval
from hf_prompt_models.playground import ALPRO_DIR
from hf_prompt_models.playground.captioned_clips import (
    VERBS,
    CaptionedClip,
    describe_clip,
    distinct_clips,
    questions_about,
)
from scripts.playground import alpro
from scripts.playground.alpro import (
    ENTITIES,
    ClipPool,
    agree,
    build_alpro,
    clip_processor,
    clip_tokenizer,
    describe,
    draw_crops,
    pretrain_alpro,
    shown_inside,
)
from scripts.playground.alpro_measures import answer_questions, count_entities, draw_pixels, recall_at_1


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(ALPRO_DIR)


# -- what ships ------------------------------------------------------------------------------------------------------


def test_shipped_folder_is_small_and_complete() -> None:
    sizes = {path.name: path.stat().st_size for path in Path(ALPRO_DIR).iterdir()}
    assert {"config.json", "model.safetensors", "processor_config.json", "tokenizer.json"} <= sizes.keys()
    assert sum(sizes.values()) < 8_000_000


def test_shipped_model_computes_in_single_precision_and_names_its_entities() -> None:
    model, report = AlproForPreTraining.from_pretrained(ALPRO_DIR, output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    assert {weight.dtype for weight in model.parameters()} == {torch.float32}
    assert model.config.entities == list(ENTITIES)
    assert model.config.fusion_layer * 2 == model.config.text_config.num_hidden_layers


def test_captions_find_their_unseen_clips(processor) -> None:
    model = AlproForVideoTextRetrieval.from_pretrained(ALPRO_DIR)
    assert recall_at_1(model, processor, seed=11, clips=40, k=8) > 0.7  # chance: 0.025


def test_entities_of_unseen_crops_are_named(processor) -> None:
    counts = count_entities(AlproForPreTraining.from_pretrained(ALPRO_DIR), processor, seed=11, clips=200)
    assert counts.crops > 20
    assert counts.student > 0.8 * counts.crops
    assert counts.prompter > 0.7 * counts.crops  # chance: 0.1


# -- words -----------------------------------------------------------------------------------------------------------


def test_every_word_of_captions_and_questions_is_one_token() -> None:
    tokenizer = clip_tokenizer()
    for index in range(100):
        clip = describe_clip("train", 0, index)
        for text in [clip.caption, *(part for each in questions_about(clip) for part in each[:2])]:
            assert len(tokenizer.tokenize(text.replace("?", ""))) == len(text.split())
    assert tokenizer.unk_token not in tokenizer.tokenize("zebras quickly jump over 17 fences!")


def test_shipped_tokenizer_is_the_one_in_the_code() -> None:
    assert AutoTokenizer.from_pretrained(ALPRO_DIR).get_vocab() == clip_tokenizer().get_vocab()


# -- what pre-training sees ------------------------------------------------------------------------------------------


def _true_of(said: dict, seen: dict) -> bool:
    """The slow reference of `agree`, on words."""
    for shape, colour in said["looks"]:
        if not any(shape == other and colour in (None, its) for other, its in seen["looks"]):
            return False
    return None in (said["motion"], seen["motion"]) or said["motion"] == seen["motion"]


@pytest.mark.parametrize("still", [False, True])
def test_sentences_are_true_of_what_is_seen_and_others_are_known_to_be_wrong(still: bool) -> None:
    clips = [describe_clip("train", 1, index) for index in range(60)]
    rng = np.random.default_rng(0)
    shown = np.array([[True, len(clip.performers) == 1 or place % 3 > 0] for place, clip in enumerate(clips)])
    sentences, said, seen = describe(clips, shown, still, rng)
    assert agree(said, seen).diagonal().all()

    def facts(clip: CaptionedClip, row: np.ndarray) -> dict:
        looks = [(each.shape, each.colour) for each, visible in zip(clip.performers, row, strict=False) if visible]
        whole = len(looks) == len(clip.performers) and not still
        return {"looks": looks, "motion": clip.motion if whole else None}

    def claims(sentence: str) -> dict:
        words = sentence.removesuffix(".").split()
        colours = {colour for clip in clips for colour in (each.colour for each in clip.performers)}
        looks = [(now, last if last in colours else None) for last, now in pairwise(words) if now in ENTITIES]
        motions = [motion for motion, verb in VERBS.items() if sentence.removesuffix(".").endswith(f" {verb}")]
        return {"looks": looks, "motion": motions[0] if motions else None}

    expected = [
        [_true_of(claims(sentence), facts(clip, row)) for clip, row in zip(clips, shown, strict=True)]
        for sentence in sentences
    ]
    assert (agree(said, seen) == np.array(expected)).all()
    assert not still or not any(verb in sentence for sentence in sentences for verb in VERBS.values())


def test_how_much_of_an_object_a_crop_shows() -> None:
    boxes = np.array([[[[0, 0, 10, 10], [20, 20, 40, 30]], [[5, 0, 15, 10], [20, 20, 40, 30]]]])
    shown = shown_inside(boxes, np.array([[0, 0, 10, 24]]))
    assert shown == pytest.approx(np.array([[(1 + 0.5) / 2, 0]]))


def test_pixels_are_the_processors_own(processor) -> None:
    pool = ClipPool(3, 7)
    images = [list(frames) for frames in pool.pixels]
    expected = processor(images=images, return_tensors="pt")["pixel_values"]
    assert torch.allclose(pool.prepare(np.arange(3), processor), expected, atol=1e-5)
    assert draw_pixels(pool.clips, processor).shape == expected.shape


def test_crops_are_on_the_grid_of_patches() -> None:
    crops = draw_crops(20, torch.Generator().manual_seed(0))
    assert (crops % alpro.PATCH_SIZE == 0).all()
    assert (crops[:, 2:] > crops[:, :2]).all()


# -- pre-training ----------------------------------------------------------------------------------------------------


def test_pretraining_writes_a_folder_that_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpro, "STILL_BATCH", 8)
    monkeypatch.setattr(alpro, "BATCH_SIZE", 8)
    pretrain_alpro(tmp_path, clips=20, still_steps=2, contrast_steps=2, steps=2)
    model, report = AlproForPreTraining.from_pretrained(tmp_path, output_loading_info=True)
    assert not report["missing_keys"]
    assert model.config.num_frames == alpro.NUM_FRAMES
    assert model.prompter.config.entities == list(ENTITIES)
    assert (tmp_path / "model.safetensors").stat().st_size < 8_000_000
    assert all(torch.isfinite(weight).all() for weight in model.parameters())
    processor = AutoProcessor.from_pretrained(tmp_path)
    shares = answer_questions(str(tmp_path), processor, seed=0, train=10, test=10, steps=1)
    assert set(shares.by_type) == {"color", "object", "action", "place", "count"}
    assert shares.prior > shares.model


def test_contrast_learns_a_few_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alpro, "STILL_BATCH", 16)
    monkeypatch.setattr(alpro, "WARMUP_STEPS", 5)
    torch.manual_seed(0)
    tokenizer = clip_tokenizer()
    processor = clip_processor(tokenizer)
    model = build_alpro(tokenizer)
    pool = ClipPool(6, 3)

    def similarities() -> torch.Tensor:
        texts = processor(text=[clip.performers[0].name for clip in pool.clips], return_tensors="pt")
        with torch.no_grad():
            videos = model.get_video_features(pixel_values=pool.prepare(np.arange(6), processor, np.array([1])))
            return videos.pooler_output @ model.get_text_features(**texts).pooler_output.T

    before = similarities()
    alpro.train_by_contrast(model, processor, pool, 25, 0)
    after = similarities()
    off = ~torch.eye(6, dtype=torch.bool)
    assert (after.diagonal().mean() - after[off].mean()) > (before.diagonal().mean() - before[off].mean()) + 0.05


def test_a_gallery_has_200_and_500_captions() -> None:
    assert len({clip.caption for clip in distinct_clips("test", 1, 500)}) == 500
