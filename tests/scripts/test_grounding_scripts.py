"""train.py and evaluate.py on referring expressions, as run by a user."""

import csv
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoModel, AutoProcessor, TrainingArguments, pipeline

from hf_prompt_models import CptForVisualGrounding, CptProcessor
from hf_prompt_models.data.grounding.referring_expressions import draw_expressions
from hf_prompt_models.tasks.visual_grounding import evaluation as visual_grounding
from tests.scripts.test_few_shot_scripts import refused, script
from tests.vision_language_stand_ins import dandelin_vilt_b32_mlm


@pytest.fixture(scope="module")
def vilt(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return dandelin_vilt_b32_mlm(tmp_path_factory.mktemp("hub") / "vilt-b32-mlm")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images with three regions each. The phrase refers to one of them, and in the last image to none."""
    directory = tmp_path_factory.mktemp("scenes")
    boxes = [[0, 0, 20, 20], [22, 4, 20, 30], [44, 0, 16, 40]]
    for split, count in (("train", 4), ("test", 5)):
        folder = directory / split
        folder.mkdir()
        items, proposals = [], {}
        for number in range(count):
            pixels = np.random.default_rng([len(split), number]).integers(0, 255, (40, 60, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
            means = boxes[number % 3] if number < 4 else [0, 0, 60, 40]
            items.append({"id": number, "file_name": f"{number}.png", "caption": "the dog on the left", "bbox": means})
            proposals[f"{number}.png"] = [{"box": box} for box in boxes]
        (folder / "annotations.json").write_text(json.dumps(items))
        (folder / "proposals.json").write_text(json.dumps(proposals))
    return directory


def flags(data: Path, vilt: Path, output_dir: Path, *more: object) -> list[str]:
    settings = {
        "--backbone": vilt,
        "--train_dir": data / "train",
        "--test_annotations": data / "test",
        "--output_dir": output_dir,
        "--shots": 2,
        "--seeds": 0,
        "--num_train_epochs": 2,
        "--learning_rate": 1e-3,
        "--disable_tqdm": "true",
    }
    return ["cpt", *(str(part) for item in settings.items() for part in item), *map(str, more)]


def read_rows(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_models_whose_predictions_are_those_reported(
    data: Path, vilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    script("train.py")([*flags(data, vilt, tmp_path), "--seeds", "0", "3"])
    printed = capsys.readouterr().out
    assert "80.00% have a right candidate region" in printed
    results = json.loads((tmp_path / "results.json").read_text())
    card = ModelCard.load(tmp_path / "seed-3" / "README.md")
    assert card.data.pipeline_tag == card.data.eval_results[0].task_type == "visual-grounding"
    assert card.data.eval_results[0].metric_value == round(results["seeds"]["3"]["accuracy"], 4)
    assert "2 expressions, sampled with the seed" in card.text
    assert "classes" not in card.text.partition("## Use")[0]  # there are none
    assert str(tmp_path) not in card.content
    accuracies = []
    for seed in (0, 3):
        folder, result = tmp_path / f"seed-{seed}", results["seeds"][str(seed)]
        rows = read_rows(folder / "predictions.csv")
        assert sum(int(row["right_candidates"]) > 0 for row in rows) / 5 == 0.8
        chance = sum(int(row["right_candidates"]) / int(row["candidates"]) for row in rows) / 5
        assert f"chance (random candidate region)         {chance:7.2%}" in printed
        assert f"| chance | {chance:.2%} |" in card.text
        with Image.open(folder / "answers.png") as answers:
            assert answers.width > answers.height > 300  # four of five images next to each other
        accuracies.append(sum(int(row["right"]) for row in rows) / 5)
        assert (result["accuracy"], result["proposal_oracle"], result["steps"]) == (accuracies[-1], 0.8, 2)
        drawn = json.loads((folder / "few_shot.json").read_text())
        assert [int(each["id"]) for each in drawn["expressions"]] == draw_expressions(4, 2, seed)
        ground = pipeline("visual-grounding", model=str(folder))
        for number, row in enumerate(rows):
            picture = Image.open(data / "test" / row["image"])
            boxes = [[0, 0, 19, 19], [22, 4, 41, 33], [44, 0, 59, 39]]
            best = ground({"image": picture, "text": row["text"], "boxes": boxes})[0]
            assert list(best["box"].values()) == boxes[int(row["region"])], number
    assert results["accuracy"] == pytest.approx({"mean": np.mean(accuracies), "std": np.std(accuracies)})
    script("evaluate.py")([str(tmp_path), "--test_dir", str(data / "test"), "--json", str(tmp_path / "e.json")])
    printed = capsys.readouterr().out
    assert "oracle 80.00%" in printed
    assert f"5 expressions; the accuracy of a random candidate region is {chance:.2%}" in printed
    evaluated = json.loads((tmp_path / "e.json").read_text())
    assert [evaluated["seeds"][seed]["accuracy"] for seed in ("0", "3")] == accuracies
    script("report.py")([str(tmp_path / "results.json"), "--output_dir", str(tmp_path / "report")])
    assert "CPT" in (tmp_path / "report" / "report.md").read_text()


@pytest.mark.slow
def test_training_changes_the_backbone_and_zero_shot_is_the_backbone_as_it_is(
    data: Path, vilt: Path, tmp_path: Path
) -> None:
    script("train.py")(flags(data, vilt, tmp_path, "--shots", 0, "--mode", "multi_color", "--loss", "palette_ce"))
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["arguments"]["sample_regions"] is False
    assert results["seeds"]["0"]["steps"] == 2
    model, zero_shot = AutoModel.from_pretrained(tmp_path).eval(), CptForVisualGrounding.from_backbone(vilt).eval()
    learned, before = (each.tower.mlm_score.transform.dense.weight for each in (model, zero_shot))
    assert not torch.equal(learned, before)
    processor = CptProcessor.from_backbone(vilt, mode="multi_color")
    assert AutoProcessor.from_pretrained(tmp_path).mode == "multi_color"
    rows = read_rows(tmp_path / "zero_shot_predictions.csv")
    for row in rows:
        boxes = [[0, 0, 19, 19], [22, 4, 41, 33], [44, 0, 59, 39]]
        picture = Image.open(data / "test" / row["image"])
        with torch.no_grad():
            logits = zero_shot(**processor(images=picture, text=row["text"], boxes=boxes)).proposal_logits
        assert int(row["region"]) == int(logits.argmax())
        assert [float(row[side]) for side in ("x1", "y1", "x2", "y2")] == boxes[int(row["region"])]
    assert results["zero_shot"]["accuracy"] == sum(int(row["right"]) for row in rows) / 5


def test_files_may_be_apart_and_regions_may_be_masks(data: Path, vilt: Path, tmp_path: Path) -> None:
    for split in ("train", "test"):
        content = json.loads((data / split / "annotations.json").read_text())
        (tmp_path / f"{split}.json").write_text(json.dumps(content[:2]))
    polygons = [[{"polygons": [[x, 0, x + 18, 0, x + 18, 30]]} for x in (0, 20, 40)]] * 2
    (tmp_path / "segs.json").write_text(json.dumps({f"{n}.png": regions for n, regions in enumerate(polygons)}))
    more = ["--train_annotations", str(tmp_path / "train.json"), "--test_dir", str(tmp_path / "test.json")]
    more += ["--train_images", str(data / "train"), "--test_images", str(data / "test")]
    more += ["--train_proposals", str(tmp_path / "segs.json"), "--eval_strategy", "epoch"]
    script("train.py")([*flags(data, vilt, tmp_path / "run"), *more])
    assert len(read_rows(tmp_path / "run" / "predictions.csv")) == 2
    more = ["--test_images", str(data / "test"), "--test_proposals", str(tmp_path / "segs.json")]
    script("evaluate.py")([str(tmp_path / "run"), "--test_dir", str(tmp_path / "test.json"), *more])


def test_the_last_line_of_training_is_a_command_that_tests_again(
    data: Path, vilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = ["--train_proposals", str(data / "test" / "proposals.json"), "--num_train_epochs", "1"]
    script("train.py")([*flags(data, vilt, tmp_path / "a run"), *more])
    printed = capsys.readouterr().out
    _, program, *arguments = shlex.split(printed.splitlines()[-1].removeprefix("Test again with: "))
    assert program == "evaluate"
    sizes = []
    ground = visual_grounding.ground_expressions
    monkeypatch.setattr(
        visual_grounding,
        "ground_expressions",
        lambda *args, **kwargs: sizes.append(args[3:]) or ground(*args, **kwargs),
    )
    script("evaluate.py")([*arguments, "--batch_size", "2", "--json", str(tmp_path / "e.json")])
    assert sizes == [(2, 0)]
    accuracy = json.loads((tmp_path / "e.json").read_text())["accuracy"]["mean"]
    assert printed.split("CPT, 2 expressions, seed 0")[1].split()[0] == f"{accuracy:.2%}"


@pytest.mark.slow
def test_a_run_is_repeated_exactly_and_resumes_after_a_crash(data: Path, vilt: Path, tmp_path: Path) -> None:
    settings = ("--num_train_epochs", 4, "--save_strategy", "epoch", "--save_total_limit", 10)
    script("train.py")(flags(data, vilt, tmp_path / "whole", *settings))
    script("train.py")(flags(data, vilt, tmp_path / "cut", *settings))
    for later in (tmp_path / "cut").glob("checkpoint-[34]"):
        later.rename(tmp_path / f"lost-{later.name}")
    script("train.py")(flags(data, vilt, tmp_path / "cut", *settings, "--resume_from_checkpoint", "true"))
    sample = ("--few_shot_sample", tmp_path / "whole" / "few_shot.json")
    script("train.py")(flags(data, vilt, tmp_path / "again", *settings, *sample))
    whole, *others = (AutoModel.from_pretrained(tmp_path / name).state_dict() for name in ("whole", "cut", "again"))
    for other in others:
        assert all(torch.equal(tensor, other[name]) for name, tensor in whole.items())
    message = refused(
        "train.py",
        *flags(data, vilt, tmp_path / "cut", *settings, "--resume_from_checkpoint", "true", "--loss", "listwise"),
    )
    assert "belongs to another run: its arguments differ" in message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--shots", 5), "between 1 and 4 expressions to train on, got shots=5"),
        (("--train_dir", "/nowhere"), "There is no file or folder '/nowhere'"),
        (("--template", "no blank {}"), "MASK"),
    ],
)
def test_wrong_input_is_refused_before_training(
    data: Path, vilt: Path, tmp_path: Path, more: tuple[object, ...], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("transformers.Trainer.train", lambda *args, **kwargs: pytest.fail("it trained"))
    assert message in refused("train.py", *flags(data, vilt, tmp_path, *more))


def test_the_papers_recipe_is_the_released_codes_and_the_default_is_shorter() -> None:
    from hf_prompt_models.models.cpt import recipe_cpt
    from hf_prompt_models.tasks.base import task_named

    parse = task_named("visual-grounding").parse_training

    given = ["--backbone", "b", "--train_dir", "t", "--test_dir", "e", "--output_dir", "o"]
    arguments = parse(recipe_cpt.RECIPE, [*given, "--recipe", "paper"], "train.py cpt")
    assert arguments.data.seeds == [0, 1, 2, 3, 4]
    training = TrainingArguments(**arguments.training)
    assert (training.learning_rate, training.adam_beta2, training.weight_decay) == (3e-5, 0.98, 0.01)
    assert (training.num_train_epochs, training.per_device_train_batch_size) == (500, 16)
    assert (arguments.method.mode, arguments.method.sample_regions) == ("single_color", True)
    shorter = parse(recipe_cpt.RECIPE, given, "train.py cpt")
    assert (shorter.data.seeds, shorter.training["num_train_epochs"]) == ([0], 60)
    explicit = parse(recipe_cpt.RECIPE, [*given, "--num_train_epochs", "7", "--seeds", "4"], "train.py cpt")
    assert (explicit.data.seeds, explicit.training["num_train_epochs"]) == ([4], 7)
    full = parse(recipe_cpt.RECIPE, [*given, "--shots", "0"], "train.py cpt")
    assert (full.training["num_train_epochs"], full.training["learning_rate"]) == (5, 3e-5)


def test_predict_grounds_a_phrase_as_the_pipeline_and_draws_the_answer(
    data: Path, vilt: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    model = CptForVisualGrounding.from_backbone(vilt)
    model.save_pretrained(tmp_path / "model", save_backbone=True)
    image, boxes = data / "test" / "0.png", [[0, 0, 20, 20], [22, 4, 42, 34]]
    flags = [tmp_path / "model", image, "--text", "the dog", "--drawing", tmp_path / "out" / "answer.png"]
    corners = [str(part) for box in boxes for part in ("--box", *box)]
    script("predict.py")([*map(str, flags), *corners, "--json"])
    (entry,) = json.loads(capsys.readouterr().out)
    expected = pipeline("visual-grounding", model=str(tmp_path / "model"))(
        {"image": str(image), "text": "the dog", "boxes": boxes}
    )
    assert entry == {"image": str(image), "predictions": expected}
    with Image.open(tmp_path / "out" / "answer.png") as drawn, Image.open(image) as plain:
        factor = drawn.width // plain.width
        best = expected[0]["box"]
        assert drawn.getpixel((factor * best["xmax"] - 1, factor * best["ymax"] - 1)) == (230, 30, 60)

    masks = []
    for number, (x1, y1, x2, y2) in enumerate(boxes):
        mask = np.zeros((40, 60), dtype=np.uint8)
        mask[y1:y2, x1:x2] = 255
        Image.fromarray(mask).save(tmp_path / f"{number}.png")
        masks.append(str(tmp_path / f"{number}.png"))
    script("predict.py")([*map(str, flags), "--masks", *masks])  # masks that fill the boxes give the same result
    printed = capsys.readouterr().out
    assert f"{expected[0]['score']:.2%}" in printed
    assert "answer.png" in printed


def test_predict_reports_what_grounding_needs(data: Path, vilt: Path, tmp_path: Path) -> None:
    CptForVisualGrounding.from_backbone(vilt).save_pretrained(tmp_path / "model", save_backbone=True)
    image = data / "test" / "0.png"
    assert "--text" in refused("predict.py", tmp_path / "model", image)
    assert "--box" in refused("predict.py", tmp_path / "model", image, "--text", "the dog")
