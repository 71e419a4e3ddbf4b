"""train.py, evaluate.py and predict.py on an image folder, as run by a user."""

import json
import runpy
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoModelForImageClassification, CLIPModel, CLIPProcessor

from hf_prompt_cli.methods import methods_with
from hf_prompt_models.training.plots import plot_confusion_matrix
from tests.pictures import write_pictures
from tests.programs import run_program


SCRIPTS = Path(__file__).parents[2] / "scripts"
CLASSES = {"cat": 6, "dog": 6, "a_photo": 6}


def script(name: str) -> Callable[[list[str]], None]:
    return runpy.run_path(str(SCRIPTS / name))["main"]


def refused(name: str, *arguments: object) -> str:
    """Return the error message with which a script exits."""
    with pytest.raises(SystemExit) as stop:
        script(name)([str(argument) for argument in arguments])
    return str(stop.value.code)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("data")
    write_pictures(directory / "train", CLASSES)
    write_pictures(directory / "test", dict.fromkeys(CLASSES, 4), seed=1)
    return directory


def flags(backbone: Path, data: Path, output_dir: Path, *more: object) -> list[str]:
    settings = {
        "--backbone": backbone,
        "--train_dir": data / "train",
        "--test_dir": data / "test",
        "--shots": 4,
        "--output_dir": output_dir,
        "--num_train_epochs": 3,
        "--per_device_train_batch_size": 4,
        "--n_ctx": 2,
        "--disable_tqdm": "true",
    }
    return ["coop", *(str(part) for item in settings.items() for part in item), *(str(part) for part in more)]


@pytest.fixture(scope="module")
def run(modern_clip: Path, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one seed."""
    output_dir = tmp_path_factory.mktemp("run")
    script("train.py")(flags(modern_clip, data, output_dir))
    return output_dir


def test_one_seed_leaves_a_model_folder_with_results_and_images(run: Path, modern_clip: Path, data: Path) -> None:
    results = json.loads((run / "results.json").read_text())
    assert set(results["seeds"]) == {"1"}
    assert results["accuracy"] == {"mean": results["seeds"]["1"]["accuracy"], "std": 0.0}
    assert results["shots"] == 4
    assert results["data"]["classes"] == 3
    assert results["data"]["test_images"] == 12
    assert set(results["versions"]) >= {"torch", "transformers", "hf_prompt_models"}
    assert results["command"].startswith("hf-prompt train coop --backbone")
    sample = json.loads((run / "few_shot.json").read_text())
    assert [len(entry["images"]) for entry in sample["classes"]] == [4, 4, 4]
    for picture in ("confusion_matrix.png", "learning_curve.png"):
        assert np.asarray(Image.open(run / picture).convert("L")).std() > 5
    assert (run / "model.safetensors").stat().st_size < 100_000


def test_reported_accuracies_are_counts_of_right_answers(run: Path, modern_clip: Path, data: Path) -> None:
    clip, processor = CLIPModel.from_pretrained(modern_clip), CLIPProcessor.from_pretrained(modern_clip, backend="pil")
    model = AutoModelForImageClassification.from_pretrained(run)
    texts = processor(text=["a photo of a a photo.", "a photo of a cat.", "a photo of a dog."], padding=True)
    texts = {name: torch.tensor(value) for name, value in texts.items()}
    zero_shot, learned = 0, 0
    for label, name in enumerate(["a_photo", "cat", "dog"]):
        for file in sorted((data / "test" / name).iterdir()):
            pixels = processor(images=Image.open(file), return_tensors="pt")["pixel_values"]
            with torch.no_grad():
                zero_shot += clip(pixel_values=pixels, **texts).logits_per_image.argmax().item() == label
                learned += model(pixels).logits.argmax().item() == label
    results = json.loads((run / "results.json").read_text())
    assert results["zero_shot"]["accuracy"] == zero_shot / 12
    assert results["accuracy"]["mean"] == learned / 12


@pytest.mark.slow
def test_several_seeds_have_a_folder_each_and_are_evaluated_each(
    modern_clip: Path, data: Path, tmp_path: Path, run: Path, capsys: pytest.CaptureFixture
) -> None:
    script("train.py")(flags(modern_clip, data, tmp_path / "runs", "--seeds", 1, 2))
    results = json.loads((tmp_path / "runs" / "results.json").read_text())
    accuracies = [results["seeds"][seed]["accuracy"] for seed in ("1", "2")]
    assert results["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    assert results["accuracy"]["std"] == pytest.approx(np.std(accuracies))
    contexts = [
        AutoModelForImageClassification.from_pretrained(folder).prompt_learner.context
        for folder in (tmp_path / "runs" / "seed-1", tmp_path / "runs" / "seed-2", run)
    ]
    assert not torch.equal(contexts[0], contexts[1])
    assert torch.equal(contexts[0], contexts[2])  # the same seed alone

    script("evaluate.py")(
        [str(tmp_path / "runs"), "--test_dir", str(data / "test"), "--json", str(tmp_path / "f.json")]
    )
    evaluated = json.loads((tmp_path / "f.json").read_text())
    assert [evaluated["seeds"][seed]["accuracy"] for seed in ("1", "2")] == accuracies
    assert evaluated["accuracy"] == results["accuracy"]
    assert "mean ± deviation" in capsys.readouterr().out
    message = refused("predict.py", tmp_path / "runs", data / "test" / "cat" / "000.png")
    assert "2 seeds. Pass one" in message


def test_a_written_sample_repeats_a_run(modern_clip: Path, data: Path, tmp_path: Path, run: Path) -> None:
    script("train.py")(flags(modern_clip, data, tmp_path, "--few_shot_sample", run / "few_shot.json"))
    first, second = (AutoModelForImageClassification.from_pretrained(folder) for folder in (run, tmp_path))
    assert torch.equal(first.prompt_learner.context, second.prompt_learner.context)


def test_resuming_starts_where_there_is_no_checkpoint_and_ends_the_same(
    modern_clip: Path, data: Path, tmp_path: Path, run: Path
) -> None:
    settings = flags(modern_clip, data, tmp_path / "run", "--resume_from_checkpoint", "true", "--save_total_limit", 9)
    script("train.py")(settings)
    checkpoints = sorted((tmp_path / "run").glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    assert len(checkpoints) > 2
    for later in checkpoints[1:]:
        shutil.rmtree(later)
    (tmp_path / "run" / "model.safetensors").unlink()
    script("train.py")(settings)
    first, second = (AutoModelForImageClassification.from_pretrained(folder) for folder in (run, tmp_path / "run"))
    assert torch.equal(first.prompt_learner.context, second.prompt_learner.context)


def test_predictions_are_printed_and_as_json(run: Path, data: Path, capsys: pytest.CaptureFixture) -> None:
    image = str(data / "test" / "dog" / "001.png")
    script("predict.py")([str(run), image, "--top_k", "2", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry["image"] == image
    assert len(entry["predictions"]) == 2
    scores = [prediction["score"] for prediction in entry["predictions"]]
    assert scores == sorted(scores, reverse=True)
    script("predict.py")([str(run), image, image])
    printed = capsys.readouterr().out
    assert printed.count(image) == 2
    assert f"{scores[0]:.2%}  {entry['predictions'][0]['label']}" in printed


def test_a_fresh_process_in_another_folder_predicts(run: Path, data: Path, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "predict.py"), str(run), str(data / "test" / "cat" / "000.png"), "--json"]
    printed = run_program(command, cwd=tmp_path)
    assert printed.returncode == 0, printed.stderr
    assert {p["label"] for p in json.loads(printed.stdout)[0]["predictions"]} == {"cat", "dog", "a_photo"}
    assert "Traceback" not in printed.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["siglip", "naflex", "align"])
def test_another_backbone_is_trained_tested_and_predicts(
    backbone: str, data: Path, tmp_path: Path, request: pytest.FixtureRequest, capsys: pytest.CaptureFixture
) -> None:
    folder = request.getfixturevalue(backbone)
    script("train.py")(flags(folder, data, tmp_path, "--shots", 2, "--learning_rate", 0.01))
    trained = json.loads((tmp_path / "results.json").read_text())
    model = AutoModelForImageClassification.from_pretrained(tmp_path)
    fresh = type(model).from_backbone(folder, model.config.class_names, n_ctx=2)
    assert type(model.clip) is type(fresh.clip)
    assert trained["seeds"]["1"]["steps"] > 0
    script("evaluate.py")([str(tmp_path), "--test_dir", str(data / "test"), "--json", str(tmp_path / "again.json")])
    assert json.loads((tmp_path / "again.json").read_text())["accuracy"] == trained["accuracy"]
    capsys.readouterr()
    script("predict.py")([str(tmp_path), str(data / "test" / "dog" / "001.png"), "--json"])
    (entry,) = json.loads(capsys.readouterr().out)
    assert {prediction["label"] for prediction in entry["predictions"]} == set(CLASSES)


def test_bad_input_is_refused_before_training_and_leaves_the_output_untouched(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"

    def message(*more: object, **changed: Path) -> str:
        return refused(
            "train.py", *flags(changed.get("backbone", modern_clip), changed.get("data", data), output, *more)
        )

    assert "fewer than 9 images: a_photo (6)" in message("--shots", 9)
    assert "must contain '{}' exactly once" in message("--templates", "a photo of a thing")
    assert "no folder" in message(data=tmp_path / "absent")
    assert "at least 2 are needed" in message("--train_dir", data / "train" / "cat")
    single = write_pictures(tmp_path / "other", {"cat": 1, "bird": 1})
    assert "class(es) that the model does not have: bird" in message("--test_dir", single)
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    for part in ("train", "test"):
        for file in (broken / part / "cat").iterdir():
            whole = file.read_bytes()
            file.write_bytes(whole[:200])
            assert f"{part}/cat/" in message("--shots", 6, data=broken)
            file.write_bytes(whole)
            break
    long = tmp_path / "long"
    shutil.copytree(data, long)
    for part in ("train", "test"):
        (long / part / "cat").rename(long / part / ("cat " * 20))
    assert "has 20 tokens, but only 4 fit" in message("--n_ctx", 70, data=long)
    assert not output.exists()


def test_unreadable_images_can_be_skipped(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(data, broken)
    (broken / "test" / "cat" / "000.png").write_bytes(b"no image")
    settings = flags(modern_clip, broken, tmp_path / "out", "--on_unreadable", "skip", "--num_train_epochs", 1)
    script("train.py")(settings)
    assert json.loads((tmp_path / "out" / "results.json").read_text())["data"]["test_images"] == 11


def test_methods_are_listed_and_help_is_given(capsys: pytest.CaptureFixture) -> None:
    assert refused("train.py", "--help") == "0"
    assert f"Methods: {', '.join(methods_with('recipe'))}\n" in capsys.readouterr().out
    assert refused("train.py", "unheard_of") == "2"
    assert "clip_zero_shot cannot be trained" in refused("train.py", "clip_zero_shot")
    for name in ("evaluate.py", "predict.py"):
        assert refused(name, "--help") == "0"
        assert f"hf-prompt {name.removesuffix('.py')} runs/" in capsys.readouterr().out


def test_a_folder_without_a_model_is_refused(tmp_path: Path, data: Path) -> None:
    assert "no trained model" in refused("predict.py", tmp_path, data / "test" / "cat" / "000.png")
    assert "no trained model" in refused("evaluate.py", tmp_path, "--test_dir", data / "test")


def test_an_unreadable_image_is_named(run: Path, tmp_path: Path) -> None:
    assert f"Cannot read the image {tmp_path / 'absent.png'}" in refused("predict.py", run, tmp_path / "absent.png")


@pytest.mark.slow
def test_a_checkpoint_of_another_run_is_not_resumed(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    script("train.py")(flags(modern_clip, data, output, "--num_train_epochs", 1))
    resume = ("--num_train_epochs", 1, "--resume_from_checkpoint", "true")
    for changed in (("--shots", 2), ("--class_token_position", "front")):
        message = refused("train.py", *flags(modern_clip, data, output, *resume, *changed))
        assert "belongs to another run" in message
    over = ("--overwrite_output_dir", "true")
    script("train.py")(flags(modern_clip, data, output, "--num_train_epochs", 1, "--shots", 2, *over))
    steps = {int(path.name.split("-")[1]) for path in output.glob("checkpoint-*")}
    assert steps == {json.loads((output / "results.json").read_text())["seeds"]["1"]["steps"]}


def test_the_backbones_own_folder_is_not_trained_into(modern_clip: Path, data: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone"
    shutil.copytree(modern_clip, backbone)
    assert "folder of the backbone" in refused("train.py", *flags(backbone, data, backbone))
    CLIPModel.from_pretrained(backbone)


def test_a_sample_gives_its_own_shots(modern_clip: Path, data: Path, tmp_path: Path, run: Path) -> None:
    settings = flags(modern_clip, data, tmp_path, "--few_shot_sample", run / "few_shot.json", "--num_train_epochs", 1)
    place = settings.index("--shots")
    script("train.py")(settings[:place] + settings[place + 2 :])
    assert json.loads((tmp_path / "results.json").read_text())["shots"] == 4
    assert refused("train.py", *settings, "--shots", 3) == "2"


def test_odd_class_names_are_drawn_as_they_are(tmp_path: Path) -> None:
    plot_confusion_matrix(np.eye(2, dtype=int), ["save $^$ now", "$x$_y"], tmp_path / "matrix.png")
    assert np.asarray(Image.open(tmp_path / "matrix.png").convert("L")).std() > 5


@pytest.mark.slow
def test_each_seeds_folder_has_a_card_with_its_results_and_no_path(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    script("train.py")(flags(modern_clip, data, tmp_path, "--seeds", 1, 2))
    results = json.loads((tmp_path / "results.json").read_text())
    for seed, other in (("1", "2"), ("2", "1")):
        card = ModelCard.load(tmp_path / f"seed-{seed}" / "README.md")
        own, second, mean = [each for each in card.data.eval_results if each.metric_type == "accuracy"]
        assert own.metric_value == round(results["seeds"][seed]["accuracy"], 4)
        assert own.metric_args == {"seed": int(seed)}
        assert second.metric_value == round(results["seeds"][other]["accuracy"], 4)
        assert mean.metric_value == round(results["accuracy"]["mean"], 4)
        assert own.task_type == card.data.pipeline_tag == "image-classification"
        assert "## Training and results" in card.text
        assert "4 images per class" in card.text
        assert str(tmp_path) not in card.content
        assert str(modern_clip) not in card.content
        assert str(data) not in card.content
    own_words = "---\nlicense: mit\n---\nMine.\n"
    (tmp_path / "seed-1" / "README.md").write_text(own_words)
    script("train.py")(flags(modern_clip, data, tmp_path, "--seeds", 1, 2, "--overwrite_output_dir", "true"))
    assert (tmp_path / "seed-1" / "README.md").read_text() == own_words


def test_a_push_that_could_not_be_made_is_refused_before_training(
    modern_clip: Path, data: Path, tmp_path: Path
) -> None:
    message = refused(
        "train.py", *flags(modern_clip, data, tmp_path, "--push_to_hub", "true", "--hub_model_id", "user/pets")
    )
    assert message.startswith("error: --push_to_hub:")
    assert "pass its Hub id with --backbone" in message
    assert not (tmp_path / "run.json").exists()


def test_a_run_reports_what_its_folder_holds_and_may_leave_the_tokenizer_out(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name, more in (("with", ()), ("without", ("--save_tokenizer", "false"))):
        script("train.py")(flags(Path("playground"), data, tmp_path / name, "--max_steps", 1, *more))
    printed = capsys.readouterr().out
    weights = (tmp_path / "with" / "model.safetensors").stat().st_size
    tokenizer = sum(path.stat().st_size for path in (tmp_path / "with").glob("tokenizer*"))
    assert (
        f"Saved: {weights / 1000:,.1f} kB of weights and the backbone's tokenizer ({tokenizer / 1000:,.1f} kB)"
        in printed
    )
    assert f"Saved: {weights / 1000:,.1f} kB of weights without a tokenizer" in printed
    assert not list((tmp_path / "without").glob("tokenizer*"))
    script("evaluate.py")([str(tmp_path / "without"), "--test_dir", str(data / "test"), "--set_classes"])
    assert "12 images of 3 classes; chance: accuracy 33.33%" in capsys.readouterr().out
    script("predict.py")([str(tmp_path / "without"), str(data / "test" / "cat")])
