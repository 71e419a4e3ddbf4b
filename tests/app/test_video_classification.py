"""The video classification demo, without a browser."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForVideoClassification, AutoProcessor

from hf_prompt_models import ActionClipForVideoClassification
from hf_prompt_models.app import Options, build
from hf_prompt_models.app.video_classification import VideoClassifier, frame_strip, sample_frames
from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.data.videos.loading import UnreadableVideoError
from hf_prompt_models.playground import CLIP_DIR
from tests.videos import number_of, write_video


CPU = Options(device="cpu")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_video(tmp_path_factory.mktemp("clips") / "numbers.mp4", 30))


def test_the_strip_shows_the_frames_that_the_model_gets(actions: Path, clip: str) -> None:
    frames, indices, count = sample_frames(clip, 8)
    assert count == 30
    assert indices == segment_indices(30, 8)
    assert [number_of(frame) for frame in frames] == indices
    markup = frame_strip(VideoClassifier(actions, CPU).read(clip))
    assert markup.count("<img") == 8
    assert "of 30" in markup


def test_probabilities_are_those_of_the_model(actions: Path, clip: str) -> None:
    names = ["moving left", "a big boat growing", "standing still"]
    classifier = VideoClassifier(actions, CPU)
    found = classifier.classify(classifier.read(clip), names)

    model = AutoModelForVideoClassification.from_pretrained(actions)
    processor = AutoProcessor.from_pretrained(actions)
    model.set_classes(names, tokenizer=processor)
    inputs = processor.image_processor([sample_frames(clip, 8)[0]], return_tensors="pt")
    with torch.no_grad():
        expected = model(**inputs).logits.softmax(-1)[0].tolist()
    assert found == pytest.approx(expected, abs=1e-5)


def test_each_of_several_labels_has_a_probability_of_its_own(tmp_path: Path, clip: str) -> None:
    model = ActionClipForVideoClassification.from_backbone(
        CLIP_DIR, ["a", "b"], post_network="mean", trainable="head", problem_type="multi_label_classification"
    )
    model.save_pretrained(tmp_path)
    classifier = VideoClassifier(tmp_path, CPU)
    video = classifier.read(clip)
    with torch.no_grad():
        logits = classifier.model.class_logits(video.embeds, classifier.model.get_text_features().pooler_output)[0]
    assert classifier.classify(video, ["a", "b"]) == pytest.approx(logits.sigmoid().tolist(), abs=1e-5)


def test_a_broken_clip_is_named_without_its_folder(actions: Path, clip: str, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(Path(clip).read_bytes()[:400])
    with pytest.raises(UnreadableVideoError, match=r"^Cannot read the video broken.mp4: it is truncated") as error:
        VideoClassifier(actions, CPU).read(str(broken))
    assert str(tmp_path) not in str(error.value)


def test_the_page_is_found_by_the_models_configuration(actions: Path) -> None:
    assert build(actions, CPU).title == "Video classification"
