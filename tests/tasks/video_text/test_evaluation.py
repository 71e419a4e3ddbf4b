"""Scores of retrieval and question answering against reference loops."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hf_prompt_models import AlproForPreTraining, AlproForVideoTextRetrieval
from hf_prompt_models.data.images.loading import load_image
from hf_prompt_models.data.text.captioned_videos import VideoTexts, read_captioned_videos, read_video_questions
from hf_prompt_models.tasks.video_text.evaluation import (
    Answered,
    Retrieved,
    answer_prior,
    held_out_losses,
    read_first,
    retrieve,
)
from tests.models.alpro import little


@pytest.fixture(scope="module")
def captions(tmp_path_factory: pytest.TempPathFactory) -> VideoTexts:
    """Six clips as folders of two frames, the last with two captions."""
    directory = tmp_path_factory.mktemp("clips")
    rows = []
    for number in range(6):
        folder = directory / f"clip{number}"
        folder.mkdir()
        for frame in range(2):
            pixels = np.random.default_rng([number, frame]).integers(0, 255, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{frame}.png")
        rows.append({"video": f"clip{number}", "caption": " ".join(little.WORDS[number : number + 3])})
    rows.append({"video": "clip5", "caption": "a big red dog"})
    (directory / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_captioned_videos(directory / "list.jsonl")


@pytest.fixture
def model() -> AlproForVideoTextRetrieval:
    return little.lively(AlproForVideoTextRetrieval(little.config(num_entities=0)))


def by_hand(model: AlproForVideoTextRetrieval, captions: VideoTexts) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and cosines, pair by pair."""
    processor, videos = little.processor(), captions.videos
    chances, cosines = (np.zeros((len(captions), len(videos))) for _ in range(2))
    clips = {item.video: [load_image(item.video / f"{frame}.png") for frame in range(2)] for item in captions.items}
    for row, item in enumerate(captions.items):
        for column, video in enumerate(videos):
            inputs = processor(images=[clips[video]], text=[item.text], return_tensors="pt")
            with torch.no_grad():
                output = model(**inputs)
            chances[row, column] = output.logits.softmax(dim=1)[0, 1]
            cosines[row, column] = (output.video_embeds * output.text_embeds).sum()
    return chances, cosines


@pytest.mark.parametrize("rerank", [0, 2])
def test_metrics_are_those_of_every_pair_read_by_hand(
    rerank: int, model: AlproForVideoTextRetrieval, captions: VideoTexts
) -> None:
    chances, cosines = by_hand(model, captions)
    found = retrieve(model, little.processor(), captions, rerank)
    assert np.allclose(found.cosines, cosines, atol=1e-5)
    own = [0, 1, 2, 3, 4, 5, 5]
    text_ranks, video_ranks = [], []
    for row, target in enumerate(own):  # those read together first, by probability; the others by cosine
        read = set(np.argsort(-cosines[row])[: rerank or 6])
        order = sorted(range(6), key=lambda v: (v not in read, -chances[row, v] if v in read else -cosines[row, v]))
        text_ranks.append(1 + order.index(target))
    for column in range(6):
        read = set(np.argsort(-cosines[:, column])[: rerank or 7])
        order = sorted(
            range(7), key=lambda t: (t not in read, -chances[t, column] if t in read else -cosines[t, column])
        )
        wrong = [text for text in order if own[text] != column]
        best = min(order.index(text) for text in range(7) if own[text] == column)
        video_ranks.append(1 + sum(order.index(text) < best for text in wrong))
    metrics = found.metrics()
    assert found.ranks().tolist() == text_ranks
    assert metrics["text_to_video"]["recall_at_1"] == np.mean(np.array(text_ranks) == 1) == metrics["accuracy"]
    assert metrics["text_to_video"]["mean_rank"] == np.mean(text_ranks)
    assert metrics["video_to_text"]["mean_rank"] == np.mean(video_ranks)
    assert metrics["video_to_text"]["median_rank"] == np.median(video_ranks)
    contrast = [1 + int(np.where(np.argsort(-row) == target)[0][0]) for row, target in zip(cosines, own, strict=True)]
    assert metrics["contrast"]["mean_rank"] == np.mean(contrast)


def test_features_alone_and_pretraining_models_rank_too(captions: VideoTexts) -> None:
    pretraining = little.lively(AlproForPreTraining(little.config(num_entities=0))).train()
    found = retrieve(pretraining, little.processor(), captions, None)
    assert np.array_equal(found.by_text, found.cosines)
    matcher = AlproForVideoTextRetrieval(pretraining.config)
    matcher.load_state_dict(pretraining.state_dict(), strict=False)
    one, other = (retrieve(each, little.processor(), captions, 2) for each in (pretraining, matcher.eval()))
    assert np.allclose(one.by_text, other.by_text, atol=1e-6)
    assert pretraining.training


def test_held_out_losses_are_the_models_own_and_leave_training_chance_alone(captions: VideoTexts) -> None:
    model = little.lively(AlproForPreTraining(little.config(num_entities=0)))
    state = torch.random.get_rng_state()
    first, second = (held_out_losses(model, little.processor(), captions) for _ in range(2))
    assert torch.equal(state, torch.random.get_rng_state())
    assert first == second
    assert set(first) == {"vtc_loss", "vtm_loss", "mlm_loss"}
    videos = [item.load(lambda count: [0, 1]) for item in captions.items]
    inputs = little.processor()(images=videos, text=captions.texts, return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs, contrast_only=True)
    assert expected.vtm_loss is None
    assert first["vtc_loss"] == pytest.approx(expected.vtc_loss.item(), abs=1e-5)
    assert held_out_losses(model, little.processor(), captions, contrast_only=True) == pytest.approx(
        {"vtc_loss": first["vtc_loss"]}
    )


def test_the_prior_answers_by_the_words_then_the_kind_then_all(tmp_path: Path) -> None:
    def write(name: str, rows: list[tuple[str, str, str]]) -> VideoTexts:
        lines = [json.dumps({"video": "v", "question": q, "answer": a, "answer_type": k}) for q, a, k in rows]
        (tmp_path / name).write_text("\n".join(lines))
        return read_video_questions(tmp_path / name)

    train = write(
        "train.jsonl",
        [("q1", "a", "x"), ("q1", "a", "x"), ("q2", "b", "x"), *[("q3", "b", "x")] * 3, ("q4", "c", "y")],
    )
    test = write(
        "test.jsonl", [("q1", "a", "x"), ("new", "b", "x"), ("new", "c", "y"), ("new", "b", "z"), ("q2", "a", "x")]
    )
    assert answer_prior(train, test) == 4 / 5


def test_answers_outside_the_list_are_counted_and_wrong(tmp_path: Path) -> None:
    rows = [{"video": "v", "question": "what is it", "answer": answer} for answer in ("dog", "cat", "tree")]
    (tmp_path / "q.jsonl").write_text("\n".join(map(json.dumps, rows)))
    questions = read_video_questions(tmp_path / "q.jsonl")
    answered = Answered(questions, ["cat", "dog"], np.array([[0.1, 0.9], [0.2, 0.8], [0.3, 0.7]]))
    assert answered.chosen == ["dog"] * 3
    assert answered.metrics() == {"accuracy": 1 / 3, "by_kind": {"what": 1 / 3}, "outside": 1}


def test_ranks_of_what_is_left_out_follow_those_that_were_read(captions: VideoTexts) -> None:
    scores = np.tile(np.arange(6.0), (7, 1))
    found = Retrieved(captions, captions.videos, scores, scores, -scores)
    assert found.ranks().tolist() == [6, 5, 4, 3, 2, 1, 1]
    assert found.contrast_ranks().tolist() == [1, 2, 3, 4, 5, 6, 6]


def test_what_was_read_comes_before_what_was_not_however_close_by_features() -> None:
    probabilities = torch.tensor([[0.1, float("-inf"), 0.02, float("-inf")]])
    scores = read_first(probabilities, np.array([[-0.5, 0.9, 0.0, 0.95]]))
    assert np.argsort(-scores[0]).tolist() == [0, 2, 3, 1]
