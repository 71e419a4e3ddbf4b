"""`--class_prompts` in train, zero_shot, predict and evaluate."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification

from hf_prompt_cli.main import main
from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification, read_class_prompts
from hf_prompt_models.data import read_labelled_images
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.tasks.accuracy_results import accuracies_of
from hf_prompt_models.tasks.results import RunResults
from tests.cli.test_class_names import predictions, refused, write_examples


NAMES = ["boat", "cup", "fish", "key"]
SENTENCES = {
    "boat": ["a drawing of a boat.", "the boat"],
    "cup": ["a small cup"],
    "fish": ["fish", "a fish on the left."],
    "key": ["a key.", "key", "the small key"],
}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    folders = {name: name for name in NAMES}
    write_examples(directory / "train", "train", 1, folders)
    write_examples(directory / "test", "test", 3, folders)
    write_examples(directory / "target", "test", 2, {"key": "key", "house": "house"})
    (directory / "names.txt").write_text("\n".join(NAMES))
    (directory / "a.json").write_text(json.dumps(SENTENCES))
    (directory / "more.json").write_text(json.dumps(SENTENCES | {"house": ["a house"], "emu": ["an emu"]}))
    return directory


def accuracy(data: Path, names: list[str], folder: str = "test", **prompts: Any) -> float:
    """Accuracy of a model that is made in Python."""
    images = read_labelled_images(data / folder, "test")
    images = images.subset_of_classes([images.class_names.index(name) for name in names])
    model = ClipZeroShotForImageClassification.from_backbone("playground", names, **prompts)
    with torch.no_grad():
        pixels = model.processor([images.load(index) for index in range(len(images))], return_tensors="pt")
        answers = model(**pixels).logits.argmax(-1)
    return (answers == torch.tensor(images.labels)).double().mean().item()


def train_flags(data: Path, output: Path, *more: object) -> list[str]:
    flags = ["train", "coop", "--backbone", "playground", "--train_dir", data / "train", "--test_dir", data / "test"]
    flags += ["--shots", 1, "--num_train_epochs", 1, "--feature_cache", "off", "--disable_tqdm", "true"]
    return [str(flag) for flag in [*flags, "--n_ctx", 1, "--output_dir", output, *more]]


def test_training_compares_with_the_sentences_of_each_test_set(
    data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flags = ("--protocol", "base-to-new", "--class_prompts", data / "more.json")
    assert main(train_flags(data, tmp_path / "run", *flags)) == 0
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    for role, names in {"base": NAMES[:2], "new": NAMES[2:]}.items():
        own = {name: SENTENCES[name] for name in names}
        test = results["tests"][role]
        assert test["templates"] == []
        assert test["class_prompts"]["source"] == str(data / "more.json")
        assert test["class_prompts"]["sentences"] == sum(map(len, own.values()))
        assert test["zero_shot"]["accuracy"] == accuracy(data, names, class_prompts=own)
    said = [record.getMessage() for record in caplog.records if "more.json" in record.getMessage()]
    assert said == [f"Ignored 2 name(s) in {data / 'more.json'} that are not classes: 'house', 'emu'."]
    shown = {test.templates for test in accuracies_of(RunResults(tmp_path, results)).tests.values()}
    digest = results["tests"]["base"]["class_prompts"]["digest"]
    assert shown == {(f"sentences of more.json ({digest[:6]})",)}


def test_a_feature_adapter_has_the_sentences_of_each_test_set(data: Path, tmp_path: Path) -> None:
    flags = ["train", "feature_adapter", "--adapter_type", "clip_adapter", "--backbone", "playground", "--shots", 1]
    flags += ["--train_dir", data / "train", "--test_dir", data / "test", "--feature_cache", "off"]
    flags += ["--augmented_views", 0, "--disable_tqdm", "true", "--output_dir", tmp_path / "run"]
    flags += ["--ratio", 0, "--protocol", "base-to-new", "--class_prompts", data / "a.json"]
    assert main([str(flag) for flag in flags]) == 0
    for test in json.loads((tmp_path / "run" / "results.json").read_text())["tests"].values():
        assert test["accuracy"]["mean"] == test["zero_shot"]["accuracy"]  # as the ratio is 0
    config = AutoModelForImageClassification.from_pretrained(tmp_path / "run").config
    assert config.class_names == NAMES[:2]
    assert config.class_prompts == [SENTENCES[name] for name in NAMES[:2]]
    assert config.templates == []


def test_a_malformed_file_and_other_tasks_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "b.json").write_text('{"boat": "a boat"}')
    assert "expected a list of sentences" in refused(
        *train_flags(data, tmp_path / "run", "--class_prompts", tmp_path / "b.json")
    )
    flags = [
        "zero_shot",
        "--backbone",
        "playground",
        "--class_names",
        data / "names.txt",
        "--output_dir",
        tmp_path / "a",
    ]
    said = refused(*flags, "--output_dir", tmp_path / "a", "--kind", "video", "--class_prompts", data / "a.json")
    assert "--class_prompts applies to images" in said
    said = refused("predict", "playground", data / "test", "--class_prompts", data / "a.json")
    assert "--class_prompts needs --class_names" in said


@pytest.fixture(scope="module")
def saved(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("models") / "zs"
    flags = ["zero_shot", "--backbone", "playground", "--class_names", data / "names.txt", "--output_dir", output]
    assert main([*map(str, flags), "--class_prompts", str(data / "a.json")]) == 0
    return output


def test_zero_shot_saves_the_sentences(saved: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    config = AutoModelForImageClassification.from_pretrained(saved).config
    assert config.class_prompts == list(read_class_prompts(data / "a.json").values())
    assert config.templates == []
    found = predictions(capsys, saved, data / "test")
    names = ("--class_names", data / "names.txt")
    assert predictions(capsys, CLIP_DIR, data / "test", *names, "--class_prompts", data / "a.json") == found
    assert predictions(capsys, saved, data / "test", *names) == found
    (data / "key.txt").write_text("key\nhouse")
    said = refused("predict", saved, data / "test", "--class_names", data / "key.txt")
    assert "no sentences for 1 class(es): 'house'" in said
    new = ("--class_names", data / "key.txt", "--class_prompts", data / "more.json")
    assert predictions(capsys, saved, data / "test", *new) == predictions(capsys, CLIP_DIR, data / "test", *new)


def test_evaluate_takes_sentences_for_the_classes_of_the_test_set(saved: Path, data: Path, tmp_path: Path) -> None:
    def tested(*more: object) -> float:
        flags = ["evaluate", saved, "--feature_cache", "off", "--json", tmp_path / "a.json", *more]
        assert main([str(flag) for flag in flags]) == 0
        return json.loads((tmp_path / "a.json").read_text())["accuracy"]["mean"]

    assert tested("--test_dir", data / "test") == accuracy(data, NAMES, class_prompts=SENTENCES)
    new = ("--test_dir", data / "target", "--set_classes")
    given = {"key": SENTENCES["key"], "house": ["a house"]}
    expected = accuracy(data, ["key", "house"], "target", class_prompts=given)
    assert tested(*new, "--class_prompts", data / "more.json") == expected
    said = refused("evaluate", saved, "--test_dir", data / "target", "--class_prompts", data / "more.json")
    assert "needs --set_classes" in said


def test_a_learned_prompt_takes_no_sentences(data: Path, tmp_path: Path) -> None:
    CoOpForImageClassification.from_backbone("playground", NAMES, n_ctx=1).save_pretrained(tmp_path)
    prompts = ("--class_prompts", data / "a.json")
    said = refused("predict", tmp_path, data / "test", "--class_names", data / "names.txt", *prompts)
    assert "is neither" in said
    said = refused("evaluate", tmp_path, "--test_dir", data / "test", "--set_classes", *prompts)
    assert "is neither" in said
