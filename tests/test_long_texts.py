"""A text that is too long for a model is refused, or truncated with a warning that reports the removed tokens."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from transformers import pipeline

from hf_prompt_cli.main import main
from hf_prompt_models import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproProcessor,
    AlproPrompter,
    CoOpForImageClassification,
    CptForVisualGrounding,
    FrozenProcessor,
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
    build_fewshot_prompt,
)
from hf_prompt_models.playground import ALPRO_DIR, CLIP_DIR, LM_DIR, VILT_DIR
from hf_prompt_models.prefix_lm.examples import GenerationExample
from hf_prompt_models.processing_utils import refuse_long_text, report_cut_texts
from hf_prompt_models.tasks.text_generation.data import report_cut_examples


LONG = "the small ring that is next to the large cross and not near " * 20
BOXES = [[2, 2, 20, 20], [25, 25, 46, 46]]
PICTURE = Image.effect_noise((48, 48), 80).convert("RGB")


def test_a_text_is_refused_from_one_token_above_the_limit() -> None:
    refuse_long_text("The title", "a mug", 7, 7)
    with pytest.raises(
        ValueError, match=r"The title is too long: it has 8 tokens, but the model has 7 positions: 'a mug'"
    ):
        refuse_long_text("The title", "a mug", 8, 7)


def test_cut_texts_of_a_data_set_are_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    assert report_cut_texts([("a", 1), ("b", 2)], 2, "f.json") == 0
    assert not caplog.records
    assert report_cut_texts([("a", 1), ("b b", 3), ("c c c", 4)], 2, "f.json") == 2
    (record,) = caplog.records
    assert record.getMessage() == (
        "Truncated 2 of the 3 texts of f.json to the 2 tokens of the model. The first has 3 tokens: 'b b'."
    )


@pytest.mark.parametrize("backbone", [VILT_DIR, CLIP_DIR], ids=["vilt", "clip"])
def test_the_grounding_pipeline_refuses_a_long_phrase(backbone: Path, tmp_path: Path) -> None:
    CptForVisualGrounding.from_backbone(backbone).save_pretrained(tmp_path)
    ground: Any = pipeline("visual-grounding", model=str(tmp_path))
    asked = {"image": PICTURE, "text": f"{LONG} the large ring", "boxes": BOXES}
    with pytest.raises(ValueError, match=r"is too long: it has \d+ tokens, but the model has \d+"):
        ground(asked)
    scores = [answer["score"] for answer in ground(asked, truncation=True)]
    other = ground(asked | {"text": f"{LONG} the small cross"}, truncation=True)
    assert scores == [answer["score"] for answer in other]
    picture = tmp_path / "a.png"
    PICTURE.save(picture)
    with pytest.raises(SystemExit, match="is too long"):
        main(["predict", str(tmp_path), str(picture), "--text", LONG, "--box", "2", "2", "20", "20"])


def test_grounding_evaluation_counts_what_is_cut(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture
) -> None:
    CptForVisualGrounding.from_backbone(VILT_DIR).save_pretrained(tmp_path / "m")
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    PICTURE.save(scenes / "a.png")
    rows = [
        {"id": index, "file_name": "a.png", "caption": text, "bbox": [2, 2, 18, 18]}
        for index, text in enumerate([LONG, "the ring", LONG])
    ]
    (scenes / "annotations.json").write_text(json.dumps(rows))
    boxes = [{"box": [2, 2, 18, 18]}, {"box": [25, 25, 21, 21]}]
    (scenes / "proposals.json").write_text(json.dumps({"a.png": boxes}))
    results = tmp_path / "results.json"
    main(["evaluate", str(tmp_path / "m"), "--test_dir", str(scenes), "--json", str(results)])
    assert "Truncated 2 of the 3 texts of" in caplog.text
    assert json.loads(results.read_text())["data"]["cut_texts"] == 2


def test_alpro_refuses_a_long_question_and_cuts_it_when_set(transformers_records: list[str]) -> None:
    model = AlproForVideoQuestionAnswering.from_pretrained(
        ALPRO_DIR, id2label={0: "a", 1: "b"}, label2id={"a": 0, "b": 1}
    )
    transformers_records.clear()  # the head is new
    processor = AlproProcessor.from_pretrained(ALPRO_DIR)
    pipe = VideoQuestionAnsweringPipeline(model=model, processor=processor)
    asked = {"video": [PICTURE] * model.config.num_frames, "question": LONG}
    with pytest.raises(ValueError, match=f"but the model has {processor.max_text_length}"):
        pipe(asked)
    assert pipe(asked, truncation=True) == pipe(asked | {"question": f"{LONG} and more"}, truncation=True)


def test_alpro_search_refuses_a_long_sentence(tmp_path: Path) -> None:
    model = AlproForVideoTextRetrieval.from_pretrained(ALPRO_DIR)
    pipe: Any = VideoTextRetrievalPipeline(model=model, processor=AlproProcessor.from_pretrained(ALPRO_DIR))
    frames = tmp_path / "clip"
    frames.mkdir()
    for number in range(4):
        PICTURE.save(frames / f"{number}.png")
    index = pipe.index_videos([str(frames)])
    with pytest.raises(ValueError, match="A sentence is too long"):
        pipe(LONG, index=index)
    assert len(pipe(LONG, index=index, truncation=True)) == 1


def test_a_long_entity_is_refused_by_its_prompt() -> None:
    model = AlproForPreTraining.from_pretrained(ALPRO_DIR)
    with pytest.raises(ValueError, match="The prompt of an entity is too long"):
        AlproPrompter.from_entities(model, ["ring", LONG], AlproProcessor.from_pretrained(ALPRO_DIR))


def test_a_long_few_shot_prompt_is_refused() -> None:
    text, images = build_fewshot_prompt("", [(PICTURE, LONG)] * 30, (PICTURE, "it is"))
    processor = FrozenProcessor.from_backbone(LM_DIR, CLIP_DIR)
    with pytest.raises(ValueError, match="but the language model has"):
        processor(images=[images], text=[text])


def test_training_examples_that_are_cut_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    processor = FrozenProcessor.from_backbone(LM_DIR, CLIP_DIR)
    examples = [GenerationExample(str(index), (), "a", target, ()) for index, target in enumerate(["b", LONG, LONG])]
    report_cut_examples(processor, examples, 12, "captions.jsonl")
    assert "Truncated 2 of the 3 texts of captions.jsonl to the 12 tokens" in caplog.text


def test_long_class_names_and_templates_are_refused() -> None:
    with pytest.raises(ValueError, match="class name\\(s\\) are too long"):
        CoOpForImageClassification.from_backbone(CLIP_DIR, ["ring", LONG])
