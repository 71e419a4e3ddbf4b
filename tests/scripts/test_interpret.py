"""interpret.py as run by a user."""

import json
import runpy
from pathlib import Path

import pytest
import torch

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification


SCRIPTS = Path(__file__).parents[2] / "scripts"
NAMES = ["cat", "dog", "dog", "a_photo"]


def interpret(*arguments: object) -> None:
    runpy.run_path(str(SCRIPTS / "interpret.py"))["main"]([str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    with pytest.raises(SystemExit) as stop:
        interpret(*arguments)
    return str(stop.value.code)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_a_prompt_that_started_from_words_finds_them(
    metric: str, openai_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = CoOpForImageClassification.from_backbone(openai_clip, NAMES, context_init="the photo of")
    model.save_pretrained(tmp_path / "model")
    interpret(tmp_path / "model", "--top_k", 2, "--metric", metric, "--json", tmp_path / "words.json")
    result = json.loads((tmp_path / "words.json").read_text())
    (context,) = result["contexts"]
    assert context["class_name"] is None
    assert [tokens[0]["text"] for tokens in context["vectors"]] == ["the", "photo", "of"]
    itself = 0.0 if metric == "euclidean" else 1.0
    assert [tokens[0]["score"] for tokens in context["vectors"]] == pytest.approx([itself] * 3, abs=1e-6)
    assert all(len(tokens) == 2 for tokens in context["vectors"])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[:3]] == [
        [str(number), word, f"{itself:.4f}"] for number, word in enumerate(["the", "photo", "of"], start=1)
    ]
    assert f"to its nearest other token: {result['typical_nearest']:.4f}" in " ".join(lines)
    assert lines[-1].endswith("hard to interpret.")


def test_class_specific_context_is_shown_by_class(
    openai_clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = CoOpForImageClassification.from_backbone(openai_clip, NAMES, n_ctx=2, class_specific_context=True)
    table = model.clip.text_model.embeddings.token_embedding.weight
    with torch.no_grad():
        model.context.copy_(table[10:18].reshape(4, 2, -1))
    model.save_pretrained(tmp_path / "model")

    def found() -> list[tuple[str, list[int]]]:
        contexts = json.loads((tmp_path / "words.json").read_text())["contexts"]
        return [(each["class_name"], [tokens[0]["id"] for tokens in each["vectors"]]) for each in contexts]

    interpret(tmp_path / "model", "--json", tmp_path / "words.json")
    assert found() == [("cat", [10, 11]), ("dog", [12, 13]), ("dog", [14, 15]), ("a_photo", [16, 17])]
    interpret(tmp_path / "model", "--json", tmp_path / "words.json", "--class_name", "a_photo", "dog")
    assert found() == [("dog", [12, 13]), ("dog", [14, 15]), ("a_photo", [16, 17])]
    assert "a_photo\n   1 " in capsys.readouterr().out
    assert "no class 'cow'" in refused(tmp_path / "model", "--class_name", "cow", "cat")


def test_mistakes_are_reported_in_one_line(openai_clip: Path, tmp_path: Path) -> None:
    CoOpForImageClassification.from_backbone(openai_clip, NAMES).save_pretrained(tmp_path / "shared")
    ClipZeroShotForImageClassification.from_backbone(openai_clip, NAMES).save_pretrained(tmp_path / "words")
    assert "all classes of this model share one" in refused(tmp_path / "shared", "--class_name", "cat")
    assert "no learned context" in refused(tmp_path / "words")
    assert "no trained model" in refused(tmp_path)
    assert "from 1 to 530" in refused(tmp_path / "shared", "--top_k", 0)
