"""train.py, evaluate.py and predict.py of text generation methods, as run by a user."""

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pytest
import torch
import yaml
from huggingface_hub import ModelCard
from PIL import Image
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, TrainingArguments, pipeline

from hf_prompt_models.metrics.evaluate_metrics import TextGeneration
from hf_prompt_models.models.frozen import recipe_frozen
from hf_prompt_models.models.mantis import recipe_mantis
from hf_prompt_models.tasks.base import task_named
from hf_prompt_models.tasks.text_generation.card import METRICS
from hf_prompt_models.tasks.text_generation.data import read_generation_data
from tests.programs import IN_TWO_PROCESSES, run_program
from tests.scripts.test_few_shot_scripts import SCRIPTS, refused, script
from tests.stand_ins_language import gpt2, llama, resnet_152


COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}

OVER = ("--overwrite_output_dir", "true")


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    hub = tmp_path_factory.mktemp("hub")
    return {"gpt2": gpt2(hub / "gpt2"), "llama": llama(hub / "llama"), "resnet": resnet_152(hub / "resnet-152")}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Objects in three colours with two images each: `products.jsonl`, and `test.jsonl` with other images."""
    directory = tmp_path_factory.mktemp("data")
    for name in ("products", "test"):
        rows = []
        for number in range(12):
            (colour, rgb), place = list(COLOURS.items())[number % 3], number // 2
            pixels = rgb + np.random.default_rng([len(name), number]).integers(-30, 30, (40, 30, 3))
            Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(directory / f"{name}{number}.png")
            title = "a mug" if number % 2 else ""
            row = {"id": place, "image": f"{name}{number}.png", "title": title, "description": f"a {colour} mug"}
            rows.append(json.dumps(row) + "\n")
        (directory / f"{name}.jsonl").write_text("".join(rows))
    return directory


def flags(method: str, backbones: dict[str, Path], data: Path, output_dir: Path, *more: object) -> list[str]:
    settings = {
        "--language_model": backbones["gpt2"],
        "--vision_model": backbones["resnet"],
        "--train_file": data / "products.jsonl",
        "--test_file": data / "test.jsonl",
        "--validation_fraction": 0.34,
        "--num_train_epochs": 2,
        "--per_device_train_batch_size": 4,
        "--learning_rate": 1e-2,
        "--max_new_tokens": 6,
        "--output_dir": output_dir,
        "--disable_tqdm": "true",
    }
    return [method, *(str(part) for item in settings.items() for part in item), *map(str, more)]


def check_card(run: Path, seed: str, *hidden: object) -> ModelCard:
    """The card of a run's model is valid, tells every score of the results, and no path of this machine."""
    results = results_of(run)
    folder = Path(results["seeds"][seed]["model"])
    card = ModelCard.load(folder / "README.md")
    data = yaml.safe_load((folder / "README.md").read_text().split("---\n")[1])
    assert data["pipeline_tag"] == results["task"] == "image-text-to-text"
    (index,) = data["model-index"]
    (tested,) = index["results"]
    assert tested["task"]["type"] == "image-text-to-text"
    titles = {name: metric.title for name, metric in METRICS.items()}
    expected = {
        f"{titles[name]}, seed {each}": round(value, 4)
        for each, one in results["seeds"].items()
        for name, value in one["test"].items()
    }
    if len(results["seeds"]) > 1:
        mean = f"mean of {len(results['seeds'])} seeds"
        expected |= {f"{titles[name]}, {mean}": round(v["mean"], 4) for name, v in results["metrics"].items()}
    assert {metric["name"]: metric["value"] for metric in tested["metrics"]} == expected
    for name, value in results["seeds"][seed]["test"].items():
        assert f"{value:{METRICS[name].form}}" in card.text
    for each in hidden:
        assert str(each) not in card.content
    return card


def read_rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def results_of(directory: Path) -> dict[str, Any]:
    return json.loads((directory / "results.json").read_text())


def test_a_run_leaves_a_model_that_generates_what_is_reported(
    backbones: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    script("train.py")(flags("mantis", backbones, data, tmp_path, "--num_image_tokens", 2, "--eval_samples", 3))
    printed = capsys.readouterr().out
    assert "trained on 8 examples, tested on 12 others" in printed
    results, rows = results_of(tmp_path), read_rows(tmp_path / "predictions.jsonl")
    write = pipeline("image-text-to-text", model=str(tmp_path))
    for row in rows:
        (answer,) = write(images=row["images"], text=row["title"], return_full_text=False)
        assert answer["generated_text"].strip() == row["generated"]
    assert write.model.generation_config.num_beams == 4
    assert [row["images"] for row in rows] == [[str(data / f"test{number}.png")] for number in range(12)]
    expected = TextGeneration().compute(
        predictions=[row["generated"] for row in rows], references=[row["references"] for row in rows]
    )
    assert results["seeds"]["1"]["test"] == pytest.approx(expected)
    blind = read_rows(tmp_path / "blind_predictions.jsonl")
    scores = TextGeneration().compute(
        predictions=[row["generated"] for row in blind], references=[row["references"] for row in blind]
    )
    assert results["seeds"]["1"]["blind"]["test"] == pytest.approx(scores)
    assert f"  black images     bleu_1 {scores['bleu_1']:.3f}" in printed
    with Image.open(blind[0]["images"][0]) as image:
        black = Image.new("RGB", image.size)
    (answer,) = write(images=[black] * len(blind[0]["images"]), text=blind[0]["title"], return_full_text=False)
    assert answer["generated_text"].strip() == blind[0]["generated"]
    assert results["metrics"]["cider_d"] == {"mean": pytest.approx(expected["cider_d"]), "std": 0.0}
    assert results["command"].startswith("hf-prompt train mantis --language_model")
    with Image.open(tmp_path / "written.png") as picture:
        assert picture.width > 1000
    card = check_card(tmp_path, "1", data, tmp_path, backbones["gpt2"])
    assert "- **Language model**: gpt2" in card.text
    assert "- **Trained on**: 8 examples; of these, 4 were held out" in card.text
    assert "- **Tested on**: 12 examples: test.jsonl" in card.text
    assert "- **Decoding**: `max_new_tokens=6, num_beams=4`" in card.text
    assert "hf-prompt train mantis --language_model gpt2" in card.text
    capsys.readouterr()
    script("report.py")([str(tmp_path)])
    assert f"{100 * results['metrics']['bleu_4']['mean']:.2f}" in capsys.readouterr().out

    script("evaluate.py")(
        [
            *(str(tmp_path), "--test_file", str(data / "test.jsonl"), "--json", str(tmp_path / "e.json")),
            *("--predictions", str(tmp_path / "e.jsonl"), "--batch_size", "5"),
        ]
    )
    assert f"cider_d {expected['cider_d']:.3f}" in capsys.readouterr().out
    assert json.loads((tmp_path / "e.json").read_text())["seeds"]["1"]["test"] == expected
    assert read_rows(tmp_path / "e.jsonl") == rows

    front = str(data / "test3.png")
    script("predict.py")([str(tmp_path), "--image", front, "--title", "a mug", "--json"])
    (entry,) = json.loads(capsys.readouterr().out)
    assert entry == {"images": [front], "title": "a mug", "generated": [rows[3]["generated"]]}
    more = ["--image", front, "--do_sample", "--num_return_sequences", "3", "--temperature", "2.5", "--num_beams", "1"]
    script("predict.py")([str(tmp_path), front, *more])
    assert len(capsys.readouterr().out.splitlines()) >= 2


@pytest.mark.slow
def test_evaluations_generate_samples_and_log_scores(backbones: dict[str, Path], data: Path, tmp_path: Path) -> None:
    settings = ("--eval_samples", 3, "--num_beams", 1, "--save_strategy", "epoch")
    script("train.py")(flags("mantis", backbones, data, tmp_path, *settings))
    samples = sorted((tmp_path / "samples").iterdir())
    assert [path.name for path in samples] == ["step-2.jsonl", "step-4.jsonl"]
    history = json.loads(next(tmp_path.glob("checkpoint-*/trainer_state.json")).read_text())["log_history"]
    logged = [entry for entry in history if "eval_cider_d" in entry]
    assert [entry["step"] for entry in logged] == [2, 4]
    assert sum("eval_loss" in entry for entry in history) == 2
    for path, entry in zip(samples, logged, strict=True):
        rows = read_rows(path)
        assert len(rows) == 3
        scores = TextGeneration().compute(
            predictions=[row["generated"] for row in rows], references=[row["references"] for row in rows]
        )
        assert {name: entry[f"eval_{name}"] for name in ("bleu_4", "rouge_l", "cider_d")} == pytest.approx(
            {name: scores[name] for name in ("bleu_4", "rouge_l", "cider_d")}
        )
    text = (tmp_path / "samples.md").read_text()
    assert f"- image: `{rows[0]['images'][0]}`" in text
    assert f"- reference: {rows[0]['references'][0]}" in text


@pytest.mark.parametrize("method", ["mantis", "frozen"])
def test_what_is_held_out_shares_no_product_with_what_is_learned(
    method: str, backbones: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    if method == "frozen":
        rows = read_rows(data / "products.jsonl")
        captions = [{"image": row["image"], "caption": row["description"] + end} for row in rows for end in ("", ".")]
        (tmp_path / "captions.json").write_text(json.dumps(captions))
        given = ["--train_file", tmp_path / "captions.json", "--train_images", data]
    else:
        given = ["--train_file", data / "products.jsonl"]
    recipe = {"mantis": recipe_mantis.RECIPE, "frozen": recipe_frozen.RECIPE}[method]
    given += ["--language_model", "g", "--output_dir", "o", "--validation_fraction", 0.3, "--disable_tqdm", "true"]
    arguments = task_named("image-text-to-text").parse_training(recipe, list(map(str, given)), "train.py")
    examples = read_generation_data(recipe, arguments)
    learned, held_out = ({example.id for example in part} for part in (examples.train, examples.validation))
    assert len(learned) == (8 if method == "frozen" else 4)
    assert len(held_out) == (4 if method == "frozen" else 2)
    assert not learned & held_out
    assert len(examples.train) + len(examples.validation) == (24 if method == "frozen" else 12)
    assert {example.id for example in examples.test} == held_out
    # Captions of one image are one test example with two references.
    assert {len(example.references) for example in examples.test} == ({2} if method == "frozen" else {1})


def predictions(run: Path, test_file: Path, output: Path, *more: object) -> list[str]:
    arguments = [run, "--test_file", test_file, "--predictions", output, *more]
    script("evaluate.py")([str(each) for each in arguments])
    return [row["generated"] for row in read_rows(output)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "more",
    [("--blind", "true"), ("--condition_on", "title")],
    ids=["blind", "title"],
)
def test_models_without_images_generate_the_same_for_all_of_them(
    more: tuple[str, ...], backbones: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    script("train.py")(flags("mantis", backbones, data, tmp_path / "run", *more, "--projection_rate_factor", 20))
    written = predictions(tmp_path / "run", data / "test.jsonl", tmp_path / "p.jsonl")
    by_title = [set(written[start::2]) for start in (0, 1)]
    assert [len(texts) for texts in by_title] == [1, 1]


@pytest.mark.slow
def test_a_seeing_model_tells_images_apart_and_can_be_blindfolded(
    backbones: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    settings = ("--num_train_epochs", 15, "--condition_on", "images", "--eval_strategy", "no")
    settings += ("--validation_fraction", 0, "--num_beams", 1)
    script("train.py")(flags("mantis", backbones, data, tmp_path / "run", *settings))
    written = predictions(tmp_path / "run", data / "test.jsonl", tmp_path / "p.jsonl")
    assert len(set(written)) > 1
    assert len(set(predictions(tmp_path / "run", data / "test.jsonl", tmp_path / "p.jsonl", "--blind"))) == 1


@pytest.mark.slow
def test_frozen_learns_captions_and_is_tested_on_questions_and_episodes(
    backbones: dict[str, Path], data: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    captions = [{"image": f"products{n}.png", "caption": list(COLOURS)[n % 3]} for n in range(12)]
    (tmp_path / "captions.json").write_text(json.dumps(captions))
    for number in range(12):
        shutil.copy(data / f"test{number}.png", tmp_path / f"COCO_val_{number:012}.jpg")
    asked = [{"image_id": n, "question_id": n, "question": "the red?"} for n in range(6)]
    (tmp_path / "q.json").write_text(json.dumps({"data_subtype": "val", "questions": asked}))
    people = [{"question_id": n, "answers": [{"answer": list(COLOURS)[n % 3]}] * 10} for n in range(6)]
    (tmp_path / "a.json").write_text(json.dumps({"annotations": people}))
    episodes = [
        {
            "question_id": n,
            **{f"image_{k}": f"COCO_val_{k:012}.jpg" for k in (1, 2)},
            "caption_1": "a mug",
            "caption_2": "the red",
            "question_image": f"COCO_val_{n:012}.jpg",
            "question": "a",
            "answer": "mug",
        }
        for n in range(3)
    ]
    (tmp_path / "open_ended_mi.json").write_text(json.dumps(episodes))
    run = tmp_path / "run"
    questions = ["--test_file", tmp_path / "q.json", "--test_images", tmp_path]
    questions += ["--test_annotations", tmp_path / "a.json"]
    learned = ["--train_file", tmp_path / "captions.json", "--train_images", data, "--num_train_epochs", 1]
    script("train.py")(flags("frozen", backbones, data, run, *learned, *questions))
    assert list(results_of(run)["metrics"]) == ["vqa_accuracy"]
    card = check_card(run, "1", data, tmp_path)
    assert "| Test | VQA accuracy |" in card.text
    assert card.data.metrics == ["accuracy"]
    rows = read_rows(run / "predictions.jsonl")
    assert rows[0]["title"] == "Please answer the question. <image>Question: the red? Answer:"
    model, base = (
        AutoModelForImageTextToText.from_pretrained(run),
        AutoModelForCausalLM.from_pretrained(backbones["gpt2"]),
    )
    assert all(
        torch.equal(model.language_model.state_dict()[name], value) for name, value in base.state_dict().items()
    )
    vision = sum(
        tensor.nbytes for name, tensor in model.state_dict().items() if not name.startswith("language_model.")
    )
    assert (run / "model.safetensors").stat().st_size < vision + 100_000

    questions = [
        "--test_file",
        tmp_path / "q.json",
        "--test_images",
        tmp_path,
        "--test_annotations",
        tmp_path / "a.json",
    ]
    shots = [
        "--shots_file",
        tmp_path / "q.json",
        "--shots_images",
        tmp_path,
        "--shots_annotations",
        tmp_path / "a.json",
    ]
    out = ["--predictions", tmp_path / "p.jsonl", "--max_new_tokens", 2, "--induction", "", "--shots", 2]
    message = refused("evaluate.py", run, *questions, *out)
    assert "--shots_file" in message
    # The model reads 64 tokens, and a byte is one token.
    message = refused("evaluate.py", run, *questions, *out, *shots)
    assert "exceeds the 64" in message
    capsys.readouterr()
    episode = [
        run,
        "--test_file",
        tmp_path / "open_ended_mi.json",
        "--question",
        "the",
        *out[:4],
        "--induction",
        "red",
    ]
    script("evaluate.py")([str(each) for each in episode])
    assert "exact_match 0." in capsys.readouterr().out
    row = read_rows(tmp_path / "p.jsonl")[0]
    assert row["title"] == "red <image>a mug <image>the red <image>the"
    assert [Path(name).name for name in row["images"]] == [f"COCO_val_{n:012}.jpg" for n in (1, 2, 0)]

    episodes_run = ["--test_file", tmp_path / "open_ended_mi.json", "--seeds", 1, 2, "--max_steps", 1]
    script("train.py")(flags("frozen", backbones, data, tmp_path / "two", *learned, *episodes_run))
    for seed in ("1", "2"):
        card = check_card(tmp_path / "two", seed, data, tmp_path)
        assert "few-shot episodes" in card.text
        assert f"| seed {seed} (this checkpoint) |" in card.text
        assert "| mean ± standard deviation |" in card.text


def test_products_come_from_facad_and_from_data_sets_too(
    backbones: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    rows = read_rows(data / "products.jsonl")
    facad = [
        {
            "id": n,
            "title": "mug",
            "description": rows[n]["description"],
            "images": [{"0": f"http://x/products{n}.png"}],
        }
        for n in range(4)
    ]
    (tmp_path / "meta.json").write_text(json.dumps(facad))
    columns = {name: [row[name] for row in rows] for name in ("id", "title", "description")}
    columns["image"] = [str(data / row["image"]) for row in rows]
    table = datasets.Dataset.from_dict(columns).cast_column("image", datasets.Image())
    datasets.DatasetDict({"test": table}).save_to_disk(str(tmp_path / "saved"))
    more = ["--train_file", tmp_path / "meta.json", "--train_images", data, "--test_file", tmp_path / "saved"]
    script("train.py")(
        flags("mantis", backbones, data, tmp_path / "run", *more, "--max_steps", 1, "--validation_fraction", 0)
    )
    assert results_of(tmp_path / "run")["data"]["train_examples"] == 4
    assert len(read_rows(tmp_path / "run" / "predictions.jsonl")) == 12


def own_bytes(model: torch.nn.Module) -> int:
    """Of all that is no part of the language model."""
    return sum(t.nbytes for name, t in model.state_dict().items() if not name.startswith("language_model."))


def weights(directory: Path) -> dict[str, torch.Tensor]:
    return AutoModelForImageTextToText.from_pretrained(directory).state_dict()


@pytest.mark.slow
def test_a_run_is_repeated_exactly_and_resumes_after_a_crash(
    backbones: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    settings = ("--num_train_epochs", 4, "--save_strategy", "epoch", "--save_total_limit", 10, "--num_beams", 1)
    for name in ("whole", "cut"):
        script("train.py")(flags("mantis", backbones, data, tmp_path / name, *settings))
    for number in (6, 8):
        (tmp_path / "cut" / f"checkpoint-{number}").rename(tmp_path / f"lost-{number}")
    again = (*settings, "--resume_from_checkpoint", "true")
    script("train.py")(flags("mantis", backbones, data, tmp_path / "cut", *again))
    whole, cut = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(tensor, cut[name]) for name, tensor in whole.items())
    message = refused("train.py", *flags("mantis", backbones, data, tmp_path / "cut", *again, "--blind", "true"))
    assert "belongs to another run: its arguments differ" in message


@pytest.mark.slow
def test_two_processes_train_and_write_as_one(
    backbones: dict[str, Path], openai_clip: Path, data: Path, tmp_path: Path
) -> None:
    """Of a CLIP, whose image tower has weights that are not used; with activations computed again."""
    settings: list[object] = ["--language_model", backbones["llama"], "--vision_model", openai_clip]
    settings += ["--optim", "sgd", "--lr_scheduler_type", "constant", "--learning_rate", 0.1, "--use_cpu", "true"]
    settings += ["--eval_samples", 3, "--activation_checkpointing", "true"]
    script("train.py")(flags("mantis", backbones, data, tmp_path / "one", *settings))
    command = [*IN_TWO_PROCESSES, str(SCRIPTS / "train.py")]
    command += flags("mantis", backbones, data, tmp_path / "two", *settings)
    command += ["--per_device_train_batch_size", "2", "--ddp_backend", "gloo"]
    finished = run_program(command)
    assert finished.returncode == 0, finished.stderr[-3000:]
    assert finished.stdout.count("Generate more with") == 1
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    before = AutoModelForCausalLM.from_pretrained(backbones["llama"]).state_dict()
    moved = max((one[f"language_model.{name}"][: len(t)] - t).abs().max().item() for name, t in before.items())
    apart = max((one[name] - two[name]).abs().max().item() for name in one if one[name].is_floating_point())
    assert apart < 1e-3 * moved
    for name in ("predictions.jsonl", "samples/step-4.jsonl"):
        rows = [read_rows(tmp_path / run / name) for run in ("one", "two")]
        assert [row["images"] for row in rows[0]] == [row["images"] for row in rows[1]]
        assert [row["generated"] for row in rows[0]] == [row["generated"] for row in rows[1]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("language_model", ["gpt2", "llama"])
def test_low_rank_updates_are_saved_small_found_by_the_pipeline_and_resumed(
    language_model: str, backbones: dict[str, Path], data: Path, tmp_path: Path
) -> None:
    pytest.importorskip("peft")
    run, base = tmp_path / "run", backbones[language_model]
    settings = ("--language_model", base, "--lora_r", 2, "--num_train_epochs", 2, "--save_strategy", "epoch")
    settings += ("--save_total_limit", 5, "--num_beams", 1)
    script("train.py")(flags("mantis", backbones, data, run, *settings))
    rows = read_rows(run / "predictions.jsonl")
    model = AutoModelForImageTextToText.from_pretrained(run)
    plain, merged = AutoModelForCausalLM.from_pretrained(base).state_dict(), model.language_model.state_dict()
    changed = {name for name, tensor in plain.items() if not torch.equal(tensor, merged[name][: len(tensor)])}
    assert changed
    assert not any("norm" in name or "emb" in name or "wte" in name or "ln_" in name for name in changed)
    assert (run / "model.safetensors").stat().st_size < own_bytes(model) + 100_000
    assert (run / "adapter_model.safetensors").stat().st_size < 60_000
    write = pipeline("image-text-to-text", model=str(run))
    for row in rows[:4]:
        (answer,) = write(images=row["images"], text=row["title"], return_full_text=False)
        assert answer["generated_text"].strip() == row["generated"]

    # Saved again, it is complete, because its language model now differs from its base.
    model.save_pretrained(tmp_path / "again")
    again = AutoModelForImageTextToText.from_pretrained(tmp_path / "again").state_dict()
    assert all(torch.equal(again[name], tensor) for name, tensor in model.state_dict().items())

    before = weights(run)
    (run / "checkpoint-4").rename(tmp_path / "lost")
    script("train.py")(flags("mantis", backbones, data, run, *settings, "--resume_from_checkpoint", "true"))
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(run).items())
    # A later run without updates leaves none behind.
    script("train.py")(flags("mantis", backbones, data, run, "--language_model", base, "--max_steps", 1, *OVER))
    assert not (run / "adapter_config.json").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--train_file", "/nowhere"), "neither a local file nor a dataset"),
        (
            ("--validation_fraction", 0.01),
            "The part 'validation' would be empty, because there are only 6 different ids",
        ),
        (("--max_new_tokens", 61), "exceeds the 64 positions of the language model"),
        (("--num_image_tokens", 10), "1 to 9, got 10"),
        (("--shots_file", "x.json"), "x.json"),
        (("--train_images", "x"), "Remove"),
        (("--train_annotations", "x"), "Remove"),
        (("--vision_model", "/nowhere/at/all"), "/nowhere/at/all"),
    ],
)
def test_wrong_input_is_refused_before_training(
    more: tuple[object, ...],
    message: str,
    backbones: dict[str, Path],
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("transformers.Trainer.train", lambda *args, **kwargs: pytest.fail("it trained"))
    assert message in refused("train.py", *flags("mantis", backbones, data, tmp_path, *more))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--eval_samples", 0), "--eval_samples"),
        (("--top_p", 0.9), "add --do_sample"),
        (("--validation_fraction", 1), "below 1"),
        (("--seeds", 1, 1), "expected different --seeds"),
        (("--lora_r", -1), "--lora_r"),
    ],
)
def test_wrong_flags_are_explained(
    more: tuple[object, ...],
    message: str,
    backbones: dict[str, Path],
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
) -> None:
    with pytest.raises(SystemExit):
        script("train.py")(flags("mantis", backbones, data, tmp_path, *more))
    assert message in capsys.readouterr().err


def test_bad_records_are_named(backbones: dict[str, Path], data: Path, tmp_path: Path) -> None:
    good = read_rows(data / "products.jsonl")[0] | {"image": str(data / "products0.png")}
    for change, message in (
        ({"description": " "}, "line 2"),
        ({"title": "a <image>b <image>"}, "1 images and 2 placeholders"),
        ({"title": "a <sep>"}, "<sep>"),
        ({"image": str(tmp_path / "none.png")}, "none.png"),
        ({"title": "x" * 60}, "shorten its text"),
    ):
        (tmp_path / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in (good, good | change)))
        arguments = flags("mantis", backbones, data, tmp_path / "o", "--test_file", tmp_path / "test.jsonl")
        assert message in refused("train.py", *arguments)


def test_predict_and_evaluate_say_what_is_missing(backbones: dict[str, Path], data: Path, tmp_path: Path) -> None:
    script("train.py")(flags("mantis", backbones, data, tmp_path, "--max_steps", 1, "--validation_fraction", 0))
    picture = data / "test0.png"
    assert "--image" in refused("predict.py", tmp_path)
    assert "--do_sample" in refused("predict.py", tmp_path, picture, "--num_return_sequences", 9)
    assert "nowhere.png" in refused("predict.py", tmp_path, "--image", "nowhere.png")
    assert "exceeds the 64" in refused("predict.py", tmp_path, "--image", picture, "--title", "x" * 60)
    message = refused("evaluate.py", tmp_path, "--test_file", data / "test.jsonl", "--shots", 1)
    assert "--shots does not apply to " in message


def test_defaults_are_the_papers_where_it_gives_them() -> None:
    given = ["--language_model", "g", "--train_file", "t", "--output_dir", "o"]
    frozen = task_named("image-text-to-text").parse_training(recipe_frozen.RECIPE, given, "train.py frozen")
    training = TrainingArguments(**frozen.training)
    assert (training.learning_rate, training.adam_beta1, training.adam_beta2) == (3e-4, 0.9, 0.95)
    assert (training.lr_scheduler_type, training.per_device_train_batch_size) == ("constant", 128)
    assert (frozen.method.num_image_tokens, frozen.data.given()) == (2, {"max_new_tokens": 32})
    mantis = task_named("image-text-to-text").parse_training(recipe_mantis.RECIPE, given, "train.py mantis")
    training = TrainingArguments(**mantis.training)
    assert (training.learning_rate, training.weight_decay, training.max_grad_norm) == (5e-5, 0.01, 1.0)
    assert mantis.data.given() == {"max_new_tokens": 64, "num_beams": 4}
    assert recipe_mantis.RECIPE.vision_model == "microsoft/resnet-152"
