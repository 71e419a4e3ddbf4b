"""train.py, evaluate.py and predict.py on videos with texts, as run by a user."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from transformers import AutoModel, TrainingArguments

from hf_prompt_models import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproVideoIndex,
)
from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.models.alpro import recipe_alpro
from hf_prompt_models.tasks.base import task_named
from tests.models.alpro import little
from tests.programs import IN_TWO_PROCESSES, run_program
from tests.scripts.test_few_shot_scripts import SCRIPTS, refused, script


COLOURS = {"red": (220, 30, 30), "green": (30, 220, 30), "blue": (30, 30, 220), "white": (240, 240, 240)}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small ALPRO with small weights, as at the start of training."""
    directory = tmp_path_factory.mktemp("hub") / "alpro"
    torch.manual_seed(0)
    model = AlproForPreTraining(little.config(num_entities=0))
    model.processor = little.processor()
    model.save_pretrained(directory)
    return directory


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Clips of one colour with a caption and two questions, and an image among the training clips."""
    directory = tmp_path_factory.mktemp("clips")
    for split, count in (("train", 8), ("test", 4)):
        captions, questions = [], []
        for number in range(count):
            name = list(COLOURS)[number % 4]
            noise = np.random.default_rng([len(split), number]).integers(-15, 15, (4, 32, 32, 3))
            frames = (np.asarray(COLOURS[name]) + noise).clip(0, 255).astype(np.uint8)
            write_video(directory / f"{split}{number}.mp4", frames)
            captions.append({"clip_name": f"{split}{number}", "caption": f"a big {name} ball"})
            asked = {"video_id": f"{split}{number}", "question": "what is it"}
            questions.append(asked | {"answer": name, "answer_type": "what"})
            questions.append(asked | {"question": "who runs", "answer": "a ball"})
        lists = {"captions": captions, "questions": questions}
        for kind, rows in lists.items():
            (directory / f"{split}_{kind}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Image.new("RGB", (32, 32), COLOURS["red"]).save(directory / "still.png")
    (directory / "pictures.csv").write_text("image,caption\nstill.png,a red picture\n")
    return directory


def flags(data: Path, backbone: Path, task: str, output_dir: Path, *more: object) -> list[str]:
    kind = "questions" if task == "question-answering" else "captions"
    settings = {
        "--task": task,
        "--backbone": backbone,
        "--train_file": data / f"train_{kind}.jsonl",
        "--test_file": data / f"test_{kind}.jsonl",
        "--output_dir": output_dir,
        "--num_frames": 2,
        "--num_train_epochs": 2,
        "--learning_rate": 1e-3,
        "--per_device_train_batch_size": 4,
        "--gradient_accumulation_steps": 1,
        "--seeds": 1,
        "--disable_tqdm": "true",
    }
    return ["alpro", *(str(part) for item in settings.items() for part in item), *map(str, more)]


def check_card(folder: Path, results: dict[str, Any], *hidden: object) -> tuple[str, dict[str, Any], dict[str, float]]:
    """A card's text, metadata, and numbers of the model-index by name; no path of this machine is in it."""
    content = (folder / "README.md").read_text()
    for each in hidden:
        assert str(each) not in content
    data = yaml.safe_load(content.split("---\n")[1])
    (index,) = data["model-index"]
    (tested,) = index["results"]
    names = [metric["name"] for metric in tested["metrics"]]
    assert len(set(names)) == len(names)
    assert tested["dataset"]["name"] == results["data"]["test_name"]
    return content, data | tested["task"], {metric["name"]: metric["value"] for metric in tested["metrics"]}


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def log_of(directory: Path) -> list[dict]:
    (state,) = directory.glob("checkpoint-*/trainer_state.json")
    return [entry for entry in json.loads(state.read_text())["log_history"] if "loss" in entry]


def test_retrieval_is_trained_tested_and_asked(
    data: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    run = tmp_path / "run"
    settings = ("--num_train_epochs", 40, "--rerank", 0, "--learning_rate", 3e-3, "--save_steps", 80, "--seeds", 1, 2)
    script("train.py")(flags(data, backbone, "retrieval", run, *settings))
    printed = capsys.readouterr().out
    assert "text to video" in printed
    assert "± " in printed
    results = json.loads((run / "results.json").read_text())
    assert results["command"].startswith("hf-prompt train alpro --task retrieval")
    assert (results["data"]["train_texts"], results["data"]["test_videos"]) == (8, 4)
    recalls = []
    for seed in ("1", "2"):
        result, folder = results["seeds"][seed], run / f"seed-{seed}"
        rows = read_rows(folder / "predictions.csv")
        recalls.append(sum(row["rank"] == "1" for row in rows) / 4)
        assert result["accuracy"] == result["text_to_video"]["recall_at_1"] == recalls[-1]
        assert result["contrast"]["recall_at_1"] == sum(row["rank_by_features"] == "1" for row in rows) / 4 >= 0.75
        assert result["text_to_video"]["mean_rank"] == sum(int(row["rank"]) for row in rows) / 4
        assert result["before"]["contrast"]["recall_at_1"] < 0.75
        assert all((row["video"] == row["best_video"]) == (row["rank"] == "1") for row in rows)
        for name in ("answers.png", "before_answers.png", "learning_curve.png"):
            with Image.open(folder / name) as picture:
                assert picture.width > 300
        first, *_, last = log_of(folder)
        assert last["vtc_loss"] < first["vtc_loss"] - 0.5
        assert last["loss"] == pytest.approx(last["vtc_loss"] + last["vtm_loss"], abs=2e-3)
    assert results["accuracy"] == pytest.approx({"mean": np.mean(recalls), "std": np.std(recalls)})
    assert type(AutoModel.from_pretrained(run / "seed-1")) is AlproForVideoTextRetrieval
    text, metadata, numbers = check_card(run / "seed-2", results, data, tmp_path, backbone)
    assert metadata["pipeline_tag"] == metadata["type"] == "video-text-retrieval"
    names = {"R@1": "recall_at_1", "R@5": "recall_at_5", "R@10": "recall_at_10"}
    names |= {"Median rank": "median_rank", "Mean rank": "mean_rank"}
    ways = {"text to video": "text_to_video", "video to text": "video_to_text", "features alone": "contrast"}
    for seed in ("1", "2"):
        for way, of_way in ways.items():
            for title, name in names.items():
                value = results["seeds"][seed][of_way][name]
                assert numbers.pop(f"{title}, {way}, seed {seed}") == round(value, 4)
    assert numbers.pop("R@1, text to video, mean of 2 seeds") == round(results["accuracy"]["mean"], 4)
    assert all(name.endswith("mean of 2 seeds") for name in numbers)
    before = results["seeds"]["2"]["before"]["contrast"]
    assert f"| seed 2, before training | {before['recall_at_1']:.2%} | {before['recall_at_5']:.2%} |" in text
    assert "| seed 2 (this checkpoint) |" in text
    assert f"- **Initialized from**: {backbone.name}" in text
    assert "8 texts" in text
    assert "4 texts on 4 videos: test_captions.jsonl" in text
    assert "all candidates are scored together with the query" in text

    capsys.readouterr()
    script("report.py")([str(run)])
    assert "| ALPRO: before training |" in capsys.readouterr().out

    evaluated = tmp_path / "e.json"
    test = ("--test_file", data / "test_captions.jsonl", "--rerank", 0, "--json", evaluated)
    script("evaluate.py")([str(run), *map(str, test)])
    for seed, metrics in json.loads(evaluated.read_text())["seeds"].items():
        assert metrics["video_to_text"] == results["seeds"][seed]["video_to_text"]
    capsys.readouterr()

    (tmp_path / "clips").mkdir()
    for clip in data.glob("test*.mp4"):
        shutil.copy(clip, tmp_path / "clips")
    (tmp_path / "clips" / "broken.mp4").write_bytes(b"none")
    index = tmp_path / "index"
    search = [str(run / "seed-1"), str(tmp_path / "clips"), "--index", str(index), "--top_k", "2", "--text"]
    picture = ["--drawing", str(tmp_path / "found.png")]
    script("predict.py")([*search, "a big green ball", *picture])
    printed = capsys.readouterr().out
    assert "best of 4 videos" in printed
    assert "Skipped 1 videos that cannot be read" in printed
    assert printed.count(".mp4") == 3
    with Image.open(tmp_path / "found.png") as found:
        assert found.width > 300
    file = index / "videos.safetensors"
    made = file.stat().st_mtime_ns
    script("predict.py")([*search, "a red ball", "--json"])
    answer = json.loads(capsys.readouterr().out)
    assert len(answer["videos"]) == 2
    assert file.stat().st_mtime_ns == made  # kept
    (tmp_path / "clips" / "broken.mp4").unlink()
    script("predict.py")([*search, "a red ball"])
    assert AlproVideoIndex.load(file).skipped == {}


@pytest.mark.slow
def test_questions_are_learned_counted_by_kind_and_answered(
    data: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "answers.json").write_text(json.dumps({"green": 1, "red": 0, "blue": 2, "a ball": 3, "tree": 4}))
    settings = ("--answers", tmp_path / "answers.json", "--num_train_epochs", 40, "--learning_rate", 3e-3)
    script("train.py")(
        flags(data, backbone, "question-answering", tmp_path / "run", *settings, "--rand_augment", "false")
    )
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["answers"], results["left_out"]) == (5, 2)  # white is none of them
    assert results["answer_prior"] == 5 / 8
    result = results["seeds"]["1"]
    rows = read_rows(tmp_path / "run" / "predictions.csv")
    assert result["outside"] == 1
    assert result["by_kind"]["who"] == 1.0  # the only answer to its words
    assert result["by_kind"]["what"] == sum(int(row["right"]) for row in rows if row["kind"] == "what") / 4 <= 0.75
    assert result["accuracy"] == sum(int(row["right"]) for row in rows) / 8 > result["before"]["accuracy"]
    assert "5 answers. 2 training questions have other answers and were left out." in capsys.readouterr().out
    text, metadata, numbers = check_card(tmp_path / "run", results, data, tmp_path, backbone)
    assert metadata["pipeline_tag"] == metadata["type"] == "video-question-answering"
    assert numbers == {
        "Accuracy, seed 1": round(result["accuracy"], 4),
        "Accuracy, what, seed 1": round(result["by_kind"]["what"], 4),
        "Accuracy, who, seed 1": round(result["by_kind"]["who"], 4),
    }
    assert f"| seed 1, before training | {result['before']['accuracy']:.2%} |" in text
    assert "16 questions, of which 2 have answers that are not in the list" in text
    assert "the model chooses one of 5 answers; the right answers of 1 test questions are not among them" in text
    with Image.open(tmp_path / "run" / "answers.png") as picture:
        assert picture.height > 300
    model = AutoModel.from_pretrained(tmp_path / "run")
    assert type(model) is AlproForVideoQuestionAnswering
    assert list(model.config.id2label.values()) == ["red", "green", "blue", "a ball", "tree"]
    test = ["--test_file", str(data / "test_questions.jsonl"), "--json", str(tmp_path / "e.json")]
    script("evaluate.py")([str(tmp_path / "run"), *test])
    assert "1 right answers are not in the answer list of the model" in capsys.readouterr().out
    assert json.loads((tmp_path / "e.json").read_text())["accuracy"]["mean"] == result["accuracy"]
    ask = [str(tmp_path / "run"), str(data / "test0.mp4"), "--question", "what is it", "--top_k", "2"]
    script("predict.py")([*ask, "--frame_strip", str(tmp_path / "strip.png")])
    assert capsys.readouterr().out.splitlines()[1].split()[-1] == rows[0]["predicted"].split()[-1]
    assert (tmp_path / "strip.png").is_file()


@pytest.mark.slow
def test_a_prompter_is_trained_and_teaches_entities_in_pretraining(
    data: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    both = ("--train_file", data / "train_captions.jsonl", data / "pictures.csv")
    script("train.py")(flags(data, backbone, "prompter", tmp_path / "prompter", *both))
    assert type(AutoModel.from_pretrained(tmp_path / "prompter")) is AlproModel
    results = json.loads((tmp_path / "prompter" / "results.json").read_text())
    text, metadata, numbers = check_card(tmp_path / "prompter", results, data, tmp_path)
    assert "pipeline_tag" not in metadata  # no pipeline runs it
    assert numbers["R@1, features alone, seed 1"] == round(results["accuracy"]["mean"], 4)
    assert "- **Class**: `AlproModel`" in text
    assert "by their features" in text
    assert {name for name in log_of(tmp_path / "prompter")[0] if name.endswith("_loss")} == {"vtc_loss"}
    (tmp_path / "entities.txt").write_text("ball 12\ndog 3\npicture\n")
    more = ("--prompter", tmp_path / "prompter", "--entities", tmp_path / "entities.txt", "--pem_threshold", 0)
    script("train.py")(flags(data, backbone, "pretraining", tmp_path / "run", *both, *more))
    assert "held-out losses vtc" in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert results["data"]["train_texts"] == 9
    names = {"vtc_loss", "vtm_loss", "mlm_loss", "pem_loss"}
    assert set(results["seeds"]["1"]["losses"]) == names
    for entry in log_of(tmp_path / "run"):
        assert entry["loss"] == pytest.approx(sum(entry[name] for name in names), abs=2e-3)
    model = AutoModel.from_pretrained(tmp_path / "run")
    assert type(model) is AlproForPreTraining
    assert model.config.entities == ["ball", "dog", "picture"]
    script("evaluate.py")([str(tmp_path / "run"), "--test_file", str(data / "test_captions.jsonl")])
    script("evaluate.py")([str(tmp_path / "prompter"), "--test_file", str(data / "test_captions.jsonl")])
    script("predict.py")([str(tmp_path / "run"), str(data / "test0.mp4"), str(data / "test1.mp4"), "--text", "a ball"])
    assert "does not search videos" in refused("predict.py", tmp_path / "prompter", data / "test0.mp4", "--text", "a")
    # Training from this run continues with the same entities.
    script("train.py")(flags(data, tmp_path / "run", "pretraining", tmp_path / "on", "--num_train_epochs", 1))
    assert AutoModel.from_pretrained(tmp_path / "on").config.entities == ["ball", "dog", "picture"]


@pytest.mark.slow
def test_a_new_model_begins_from_the_words_of_the_captions(data: Path, backbone: Path, tmp_path: Path) -> None:
    made = flags(data, backbone, "retrieval", tmp_path / "run", "--from_scratch", "true", "--hidden_size", 32)
    place = made.index("--backbone")
    del made[place : place + 2]
    script("train.py")([*made, "--num_layers", "2", "--image_size", "32", "--eval_strategy", "epoch"])
    (state,) = (tmp_path / "run").glob("checkpoint-*/trainer_state.json")
    log = json.loads(state.read_text())["log_history"]
    result = json.loads((tmp_path / "run" / "results.json").read_text())["seeds"]["1"]
    assert [entry["eval_accuracy"] for entry in log if "eval_accuracy" in entry][-1] == result["accuracy"]
    assert "white" in AutoModel.from_pretrained(tmp_path / "run")._find_processor().tokenizer.get_vocab()


@pytest.mark.slow
def test_a_run_is_repeated_exactly_and_resumes_after_a_crash(data: Path, backbone: Path, tmp_path: Path) -> None:
    settings = ("--num_train_epochs", 4, "--save_strategy", "epoch", "--save_total_limit", 10)
    script("train.py")(flags(data, backbone, "pretraining", tmp_path / "whole", *settings))
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    for later in (tmp_path / "cut").glob("checkpoint-[68]"):
        shutil.rmtree(later)
    resumed = (*settings, "--resume_from_checkpoint", "true")
    script("train.py")(flags(data, backbone, "pretraining", tmp_path / "cut", *resumed))
    one, other = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "cut"))
    assert all(torch.equal(tensor, other[name]) for name, tensor in one.items())
    message = refused("train.py", *flags(data, backbone, "pretraining", tmp_path / "cut", *resumed, "--flip", "false"))
    assert "belongs to another run: its arguments differ" in message
    rows = (data / "train_captions.jsonl").read_text().splitlines()
    others = data / "other_captions.jsonl"  # as many, of the same videos
    others.write_text("\n".join([rows[0].replace("a big", "a tiny"), *rows[1:]]))
    given = flags(data, backbone, "pretraining", tmp_path / "cut", *resumed, "--train_file", others)
    assert "belongs to another run: its texts differ" in refused("train.py", *given)


@pytest.mark.slow
def test_two_processes_train_the_model_of_one_with_the_whole_batch(data: Path, backbone: Path, tmp_path: Path) -> None:
    # Plain gradient descent: Adam divides by the gradient's size, and would make steps of its rounding errors.
    settings: tuple[object, ...] = ("--optim", "sgd", "--learning_rate", 0.05, "--lr_scheduler_type", "constant")
    settings += ("--use_cpu", "true", "--save_strategy", "no")
    script("train.py")(flags(data, backbone, "retrieval", tmp_path / "one", *settings))
    command = [*IN_TWO_PROCESSES, str(SCRIPTS / "train.py")]
    command += flags(data, backbone, "retrieval", tmp_path / "two", *settings)
    command += ["--per_device_train_batch_size", "2", "--ddp_backend", "gloo"]
    finished = run_program(command)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.count("Search with: hf-prompt predict") == 1
    one, two, untrained = (
        AutoModel.from_pretrained(folder).state_dict() for folder in (tmp_path / "one", tmp_path / "two", backbone)
    )
    moved = max((one[name] - untrained[name]).abs().max().item() for name in one)
    apart = max((one[name] - two[name]).abs().max().item() for name in one)
    assert moved > 1e-4
    assert apart < 2e-3 * moved  # float32; another frame or negative moves weights by far more
    results = [json.loads((tmp_path / name / "results.json").read_text()) for name in ("one", "two")]
    assert [result["seeds"]["1"]["steps"] for result in results] == [4, 4]


@pytest.mark.slow
def test_broken_videos_are_counted_and_refused_before_training(
    data: Path, backbone: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    rows = (data / "train_captions.jsonl").read_text() + json.dumps({"clip_name": "absent", "caption": "a dog"}) + "\n"
    (tmp_path / "list.jsonl").write_text(rows)
    made = flags(data, backbone, "retrieval", tmp_path / "run", "--train_file", tmp_path / "list.jsonl")
    made += ["--train_videos", str(data), "--num_train_epochs", "1"]
    assert "absent" in refused("train.py", *made)
    script("train.py")([*made, "--on_unreadable", "skip"])
    assert "Skipped 1 videos that cannot be read." in capsys.readouterr().out
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert [Path(name).name for name in results["data"]["skipped"]] == ["absent"]
    assert results["data"]["train_texts"] == 8


@pytest.mark.parametrize(
    ("task", "more", "message"),
    [
        ("retrieval", ("--train_file", "/nowhere.jsonl"), "nowhere"),
        ("retrieval", ("--backbone", "/nowhere"), "nowhere"),
        ("question-answering", ("--answers", "A"), "'dog' is repeated"),
        ("question-answering", ("--answers", "B"), "None of the 16 questions"),
        ("question-answering", ("--answers", "C"), "the indices 0 to 1"),
        ("pretraining", ("--prompter", "BACKBONE"), "Pass them with --entities"),
        ("pretraining", ("--prompter", "BACKBONE", "--entities", "E"), "has the same name as entity 0"),
    ],
)
def test_wrong_input_is_refused_before_training(
    data: Path,
    backbone: Path,
    tmp_path: Path,
    task: str,
    more: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transformers.Trainer.train", lambda *args, **kwargs: pytest.fail("it trained"))
    contents = {"A": '["dog", "cat", "dog"]', "B": '["snow"]', "C": '{"dog": 0, "cat": 5}', "E": "dog\nDog\n"}
    for name, text in contents.items():
        (tmp_path / name).write_text(text)
    named = [
        str(tmp_path / each) if each in contents else str(backbone) if each == "BACKBONE" else each for each in more
    ]
    assert message in refused("train.py", *flags(data, backbone, task, tmp_path / "out", *named))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--task", "retrieval", "--dataset", "msvd"), "released settings of retrieval for msrvtt and didemo"),
        (("--task", "retrieval", "--answers", "a"), "--answers applies to --task question-answering"),
        (("--task", "retrieval", "--vision", "v"), "the model to start from is missing"),
        (("--task", "pretraining", "--entities", "e"), "pass --prompter too"),
        (("--task", "retrieval", "--num_frames", "0"), "--num_frames to be at least 1"),
        (
            (
                "--task",
                "nothing",
            ),
            "invalid choice",
        ),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    more: tuple[str, ...], message: str, capsys: pytest.CaptureFixture
) -> None:
    given = ["--backbone", "b", "--train_file", "t", "--test_file", "e", "--output_dir", "o"]
    with pytest.raises(SystemExit):
        task_named("video-text").parse_training(recipe_alpro.RECIPE, [*given, *more], "train.py alpro")
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("task", "dataset", "rate", "epochs", "clip", "batch", "frames", "length"),
    [
        ("pretraining", None, 1e-4, 10, 20, 16, 4, 30),
        ("prompter", None, 1e-4, 10, 20, 16, 4, 30),
        ("retrieval", None, 2.5e-5, 5, 5, 8, 8, 40),
        ("retrieval", "didemo", 4e-5, 10, 20, 12, 8, 50),
        ("question-answering", None, 5e-5, 10, 5, 12, 16, 40),
        ("question-answering", "msvd", 5e-5, 15, 20, 12, 16, 40),
    ],
)
def test_defaults_are_the_released_settings(
    task: str, dataset: str | None, rate: float, epochs: int, clip: float, batch: int, frames: int, length: int
) -> None:
    given = ["--task", task, "--backbone", "b", "--train_file", "t", "--test_file", "e", "--output_dir", "o"]
    given += [] if dataset is None else ["--dataset", dataset]
    arguments = task_named("video-text").parse_training(recipe_alpro.RECIPE, given, "train.py alpro")
    training = TrainingArguments(**arguments.training)
    assert (training.learning_rate, training.num_train_epochs, training.max_grad_norm) == (rate, epochs, clip)
    assert training.per_device_train_batch_size == batch
    assert (training.adam_beta2, training.adam_epsilon, training.weight_decay) == (0.98, 1e-6, 0.0)
    assert (arguments.method.num_frames, arguments.method.max_text_length) == (frames, length)
    assert arguments.data.seeds == [42]
    assert training.gradient_accumulation_steps == (1 if task in ("pretraining", "retrieval") else 2)
    changes = arguments.method.augmentation()
    assert (changes is None) == (task == "retrieval")
    if changes is not None:
        assert changes.crop == (task != "question-answering")


def test_what_a_model_does_not_do_is_reported(backbone: Path, data: Path) -> None:
    clip = str(data / "test0.mp4")
    assert "Pass --text to search the videos, or --question" in refused("predict.py", backbone, clip)
    assert "does not answer questions" in refused("predict.py", backbone, clip, "--question", "what is it")
    assert "--csv does not apply to" in refused("predict.py", backbone, clip, "--text", "a", "--csv", "c.csv")
    assert "--index does not apply to --question" in refused(
        "predict.py", backbone, clip, "--question", "a", "--index", "i"
    )


def test_entities_are_built_from_captions(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "captions.json").write_text(json.dumps(["a dog runs", "the dog and a cat", "one cat", "a dog"]))
    (tmp_path / "list.txt").write_text("cat\ndog\nhorse\n")
    build = script("build_entities.py")
    build([str(tmp_path / "captions.json"), str(tmp_path / "out.txt"), "--entities", str(tmp_path / "list.txt")])
    assert (tmp_path / "out.txt").read_text() == "dog 3\ncat 2\n"
    assert "out of the requested 1000" in capsys.readouterr().out
    (tmp_path / "twice.txt").write_text("cat\nCat\n")
    files = (tmp_path / "captions.json", tmp_path / "out.txt", "--entities")
    assert "has the same name as entity 0" in refused("build_entities.py", *files, tmp_path / "twice.txt")
    (tmp_path / "stop.json").write_text('["it is the one"]')
    assert "only stop words" in refused("build_entities.py", tmp_path / "stop.json", *files[1:], tmp_path / "list.txt")
    (tmp_path / "other.json").write_text('["a tree"]')
    message = refused("build_entities.py", tmp_path / "other.json", *files[1:], tmp_path / "list.txt")
    assert "contains an entity" in message
    assert (tmp_path / "out.txt").read_text() == "dog 3\ncat 2\n"
