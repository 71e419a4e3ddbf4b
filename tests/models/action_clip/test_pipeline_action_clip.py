"""The pipeline samples the complete video for ActionCLIP; for every other model it is the pipeline of transformers."""

import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import (
    AutoModelForVideoClassification,
    VideoClassificationPipeline,
    VideoMAEConfig,
    VideoMAEForVideoClassification,
    VideoMAEImageProcessorPil,
    pipeline,
)

from hf_prompt_models import ActionClipForVideoClassification, ActionClipVideoClassificationPipeline
from hf_prompt_models.data.videos.loading import load_video
from tests.models.action_clip.clips import write_mp4
from tests.tested_method import random_image


NAMES = ["cat", "dog", "the photo"]


@pytest.fixture(scope="module")
def folder(openai_clip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("saved")
    model = ActionClipForVideoClassification.from_backbone(openai_clip, NAMES, post_network="transf", num_frames=2)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten frames of one grey each, from dark to light."""
    frames = [Image.new("RGB", (64, 48), (25 * index,) * 3) for index in range(10)]
    return write_mp4(tmp_path_factory.mktemp("clips") / "a clip.mp4", frames)


@pytest.fixture
def classifier(folder: Path) -> VideoClassificationPipeline:
    return pipeline("video-classification", model=str(folder))


def scores(answers: list[dict]) -> dict[str, float]:
    return {answer["label"]: answer["score"] for answer in answers}


def expected_scores(classifier: VideoClassificationPipeline, frames: list[Image.Image]) -> dict[str, float]:
    pixels = classifier.image_processor(frames, return_tensors="pt").pixel_values
    with torch.no_grad():
        output = classifier.model(pixel_values=pixels)
    similarities = 100 * torch.einsum("bd,kcd->bkc", output.video_embeds, output.text_embeds)
    return dict(zip(NAMES, similarities.softmax(-1).mean(1)[0].tolist(), strict=True))


def test_the_whole_video_is_sampled_at_the_centres_of_equal_segments(
    classifier: VideoClassificationPipeline, clip: Path
) -> None:
    pixels = classifier.preprocess(str(clip)).pixel_values
    greys = (pixels[0, :, 0].mean((1, 2)) * 0.26862954 + 0.48145466) * 255 / 25
    assert greys.round().tolist() == [2, 7]  # int(i * 10 / 2 + (10 / 2 - 1) / 2)
    assert scores(classifier(str(clip))) == pytest.approx(
        expected_scores(classifier, load_video(clip, 2)), rel=1e-4, abs=1e-5
    )
    assert classifier.preprocess(str(clip), num_frames=5).pixel_values.shape[1] == 5
    assert scores(classifier(str(clip), num_frames=5)) == pytest.approx(
        expected_scores(classifier, load_video(clip, 5)), rel=1e-4, abs=1e-5
    )


def test_frames_are_a_video_too(classifier: VideoClassificationPipeline, clip: Path) -> None:
    frames = [random_image(seed) for seed in range(3)]
    expected = pytest.approx(expected_scores(classifier, frames), rel=1e-4, abs=1e-5)
    assert scores(classifier(frames)) == expected
    arrays = np.stack([np.asarray(frame) for frame in frames])
    assert scores(classifier(arrays)) == expected
    assert scores(classifier(torch.from_numpy(arrays).permute(0, 3, 1, 2))) == expected
    many = classifier([frames, str(clip), frames[:2]])
    assert scores(many[0]) == expected
    assert scores(many[1]) == pytest.approx(scores(classifier(str(clip))), rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("batch_size", [2, 5])
def test_videos_of_a_batch_are_each_answered_as_alone(
    batch_size: int, classifier: VideoClassificationPipeline, tmp_path: Path
) -> None:
    videos = [
        str(write_mp4(tmp_path / f"{seed}.mp4", [random_image(seed), random_image(seed + 9)])) for seed in range(5)
    ]
    together = classifier(videos, batch_size=batch_size)
    for video, answers in zip(videos, together, strict=True):
        assert scores(answers) == pytest.approx(scores(classifier(video)), rel=1e-4, abs=1e-5)


def test_several_labels_get_a_probability_each(folder: Path, clip: Path) -> None:
    one = pipeline("video-classification", model=str(folder))
    model = AutoModelForVideoClassification.from_pretrained(folder, problem_type="multi_label_classification")
    several = pipeline("video-classification", model=model, image_processor=one.image_processor)
    assert scores(several(str(clip))) == pytest.approx(scores(one(str(clip))), rel=1e-4, abs=1e-5)


@pytest.fixture
def address(clip: Path) -> Iterator[str]:
    """Of the clip on a server of this machine."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(clip.parent))

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_link_is_a_video_too(classifier: VideoClassificationPipeline, clip: Path, address: str) -> None:
    assert scores(classifier(f"{address}/a%20clip.mp4")) == pytest.approx(scores(classifier(str(clip))))
    with pytest.raises(Exception, match="404"):
        classifier(f"{address}/nothing.mp4")


def test_of_no_videos_there_are_no_answers(classifier: VideoClassificationPipeline) -> None:
    assert classifier([]) == classifier(()) == []


def test_a_sampling_rate_is_refused(classifier: VideoClassificationPipeline, clip: Path) -> None:
    with pytest.raises(ValueError, match="frame_sampling_rate does not apply"):
        classifier(str(clip), frame_sampling_rate=2)


def test_a_file_that_is_no_video_is_named(classifier: VideoClassificationPipeline, tmp_path: Path) -> None:
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(ValueError, match=r"text\.mp4"):
        classifier(str(tmp_path / "text.mp4"))


def test_the_pipelines_own_checkpoint_loads(
    classifier: VideoClassificationPipeline, clip: Path, tmp_path: Path
) -> None:
    """`register_pipeline` would write code into it that no loader finds."""
    classifier.save_pretrained(tmp_path)
    again = pipeline("video-classification", model=str(tmp_path))
    assert type(again) is ActionClipVideoClassificationPipeline
    assert scores(again(str(clip))) == scores(classifier(str(clip)))
    assert "custom_pipelines" not in (tmp_path / "config.json").read_text()


def test_every_other_model_has_transformers_own_pipeline(clip: Path, transformers_records: list[str]) -> None:
    config = VideoMAEConfig(
        hidden_size=16, intermediate_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=32, num_frames=4
    )
    model = VideoMAEForVideoClassification(config).eval()
    processor = VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    ours = pipeline("video-classification", model=model, image_processor=processor)
    stock = VideoClassificationPipeline(model=model, image_processor=processor)
    assert isinstance(ours, VideoClassificationPipeline)
    assert torch.equal(ours.preprocess(str(clip)).pixel_values, stock.preprocess(str(clip)).pixel_values)
    assert ours(str(clip)) == stock(str(clip))
    assert ours(str(clip), frame_sampling_rate=2) == stock(str(clip), frame_sampling_rate=2)
    assert ours([str(clip)], top_k=1) == stock([str(clip)], top_k=1)
    assert all("image_processor" in record for record in transformers_records)  # the stock pipeline's warning
    transformers_records.clear()
