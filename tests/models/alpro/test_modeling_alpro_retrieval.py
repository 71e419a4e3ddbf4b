"""Ranking of texts and videos: which pairs are left out, which are scored jointly, and the cost of both."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models import AlproForVideoTextRetrieval
from tests.models.alpro import little
from tests.models.alpro.written_out import WrittenOut
from tests.tested_method import random_image


@pytest.fixture(scope="module")
def model() -> AlproForVideoTextRetrieval:
    return little.lively(AlproForVideoTextRetrieval(little.config())).double()


@torch.no_grad()
def test_all_pairs_equal_the_written_out_match_probabilities(model: AlproForVideoTextRetrieval) -> None:
    videos, texts = little.videos(3), little.texts(4)
    found = model.rank(texts, videos, k=None, batch_size=5)
    written = WrittenOut(model)
    for row, (ids, mask) in enumerate(zip(texts["input_ids"], texts["attention_mask"], strict=True)):
        for column, pixels in enumerate(videos):
            fused = written.fuse(written.text(ids, mask), mask, written.video(pixels))
            expected = written.head("vtm_head", fused[0]).softmax(dim=0)[1]
            torch.testing.assert_close(found[row, column], expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@torch.no_grad()
def test_the_closest_videos_are_read_and_the_others_left_out(
    batch_size: int, model: AlproForVideoTextRetrieval
) -> None:
    videos, texts = little.videos(6), little.texts(4)
    found = model.rank(texts, videos, k=2, batch_size=batch_size)
    similarities = model.get_text_features(**texts).pooler_output @ model.get_video_features(videos).pooler_output.T
    closest = torch.zeros(4, 6, dtype=torch.bool).scatter(1, similarities.topk(2, dim=1).indices, True)
    every = model.rank(texts, videos, k=None)
    assert every.isfinite().all()
    torch.testing.assert_close(found, every.masked_fill(~closest, float("-inf")), rtol=0, atol=1e-9)
    torch.testing.assert_close(model.rank(texts, videos, k=50), every, rtol=0, atol=1e-9)


@torch.no_grad()
def test_texts_are_searched_by_a_video(model: AlproForVideoTextRetrieval) -> None:
    videos, texts = little.videos(5), little.texts(7)
    model = model.double()
    every = model.rank(texts, videos, k=None)
    assert torch.allclose(model.rank(texts, videos, k=None, per_video=True), every, atol=1e-9)
    scores = model.rank(texts, videos, k=3, per_video=True, batch_size=4)
    features = [model.get_text_features(**texts), model.get_video_features(videos)]
    closest = (features[0].pooler_output @ features[1].pooler_output.T).topk(3, dim=0).indices
    for video in range(5):
        read = set(closest[:, video].tolist())
        for text in range(7):
            assert scores[text, video].item() == (
                pytest.approx(every[text, video].item(), abs=1e-9) if text in read else float("-inf")
            )


def test_the_loss_is_the_sum_of_two_named_ones(model: AlproForVideoTextRetrieval) -> None:
    output = model.double()(little.videos(3), **little.texts(3), return_loss=True)
    assert output.loss.item() == pytest.approx((output.vtc_loss + output.vtm_loss).item())
    assert model(little.videos(3), **little.texts(3)).vtc_loss is None


def test_the_logits_of_pairs_are_what_ranking_reads(model: AlproForVideoTextRetrieval) -> None:
    videos, texts = little.videos(3), little.texts(3)
    output = model(pixel_values=videos, **texts)
    assert output.logits.shape == (3, 2)
    assert output.loss is None
    ranked = model.rank(texts, videos, k=None)
    torch.testing.assert_close(output.logits.softmax(dim=1)[:, 1], ranked.diagonal(), rtol=0, atol=1e-9)
    assert all(isinstance(each, torch.Tensor) for each in model(pixel_values=videos, **texts, return_dict=False))


@torch.no_grad()
def test_features_are_of_length_one_and_can_be_kept(model: AlproForVideoTextRetrieval) -> None:
    videos, texts = little.videos(3), little.texts(3)
    features = model.encode_videos(videos, batch_size=2)
    assert features.pooler_output.shape == (3, 16)
    for each in (features.pooler_output, model.get_text_features(**texts).pooler_output):
        torch.testing.assert_close(each.norm(dim=1), torch.ones(3, dtype=torch.float64), rtol=0, atol=1e-9)
    torch.testing.assert_close(model.rank(texts, features, k=2), model.rank(texts, videos, k=2), rtol=0, atol=1e-9)


def test_few_pairs_are_read(model: AlproForVideoTextRetrieval, monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    fuse = model.alpro.text_model.fuse
    monkeypatch.setattr(
        model.alpro.text_model, "fuse", lambda text, *rest: read.append(len(text)) or fuse(text, *rest)
    )
    model.rank(little.texts(3), little.videos(8), k=2, batch_size=4)
    assert read == [4, 2]


def test_ranking_is_of_eval_mode_and_leaves_train_mode_as_it_was() -> None:
    config = little.config()
    config.text_config.hidden_dropout_prob = 0.5
    model = little.lively(AlproForVideoTextRetrieval(config)).train()
    texts, videos = little.texts(2), little.videos(2).float()
    found = model.rank(texts, videos)
    assert model.training
    assert torch.equal(found, model.eval().rank(texts, videos))
    assert not found.requires_grad


def test_sentences_and_frames_go_through_the_processor_next_to_the_model(tmp_path: Path) -> None:
    model = little.lively(AlproForVideoTextRetrieval(little.config()))
    sentences = ["a red dog runs", "the cat"]
    clips = [[random_image(seed) for seed in pair] for pair in ((0, 1), (2, 3), (4, 5))]
    with pytest.raises(ValueError, match=r"Set model\.processor"):
        model.rank(sentences, clips)
    model.processor = little.processor()
    model.save_pretrained(tmp_path)
    loaded = AlproForVideoTextRetrieval.from_pretrained(tmp_path)
    inputs = little.processor()(images=clips, text=sentences, return_tensors="pt")
    pixels = inputs.pop("pixel_values")
    torch.testing.assert_close(loaded.rank(sentences, clips, batch_size=2), model.rank(inputs, pixels))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"k": 0}, "got k=0"),
        ({"batch_size": 0}, "batch_size=0"),
        ({"texts": []}, "at least one sentence"),
        ({"texts": "a dog"}, "a list of at least one"),
        ({"videos": torch.zeros(0, 2, 3, 32, 32)}, "no video"),
        ({"videos": torch.zeros(2, 3, 3, 32, 32)}, "resize_time_embeddings"),
    ],
)
def test_what_cannot_be_ranked_is_refused(arguments: dict, message: str, model: AlproForVideoTextRetrieval) -> None:
    with pytest.raises(ValueError, match=message):
        model.rank(**{"texts": little.texts(2), "videos": little.videos(2)} | arguments)
