"""Tables and curves of the results of many runs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hf_prompt_models.tasks.accuracy_results import accuracies_of
from hf_prompt_models.tasks.report import build_sections, write_report
from hf_prompt_models.tasks.results import read_result, read_results
from hf_prompt_models.tasks.sections import markdown_table
from hf_prompt_models.training.plots import plot_accuracy_by_shots


Runs = dict[str, dict[str, Any]]


def entry(title: str, zero_shot: float, mean: float, std: float = 0.01) -> dict[str, Any]:
    return {
        "title": title,
        "source": "somewhere",
        "classes": 10,
        "test_images": 100,
        "templates": ["a photo of a {}."],
        "zero_shot": {"accuracy": zero_shot, "mean_class_accuracy": 0.5},
        "accuracy": {"mean": mean, "std": std},
    }


def run(protocol: str, name: str, tests: dict[str, Any], shots: int = 16, seeds: int = 3, **changes: Any) -> dict:
    arguments = {"n_ctx": 16, "class_token_position": "end", "class_specific_context": False, "context_init": None}
    return {
        "method": "CoOp",
        "protocol": protocol,
        "backbone": "openai/clip",
        "shots": shots,
        "data": {"name": name, "train": "D", "test": "D", "classes": 10, "test_images": 100},
        "arguments": arguments | changes.pop("arguments", {}),
        "tests": tests,
        "seeds": {str(seed): {} for seed in range(1, seeds + 1)},
        "command": f"train.py coop --shots {shots}",
    } | changes


def few_shot(name: str, shots: int, mean: float, zero_shot: float = 0.5, **changes: Any) -> dict:
    return run("few-shot", name, {"test": entry(name, zero_shot, mean)}, shots, **changes)


def write(directory: Path, runs: Runs) -> Path:
    for name, result in runs.items():
        (directory / name).mkdir(parents=True)
        (directory / name / "results.json").write_text(json.dumps(result))
    return directory


def tables(directory: Path, runs: Runs) -> dict[str, list[list[str]]]:
    """Return the rows of each table of the report, by heading."""
    report = write_report(read_results([write(directory / "runs", runs)]), directory / "out")
    found = {}
    for section in report.split("## ")[1:]:
        heading, *lines = section.splitlines()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
        found[heading] = [rows[0], *rows[2:]]
    return found


def test_few_shot_rows_are_shots_and_columns_the_papers_data_sets(tmp_path: Path) -> None:
    runs = {
        "a": few_shot("my birds", 1, 0.625, zero_shot=0.75),
        "b": few_shot("EuroSAT", 16, 0.8353, zero_shot=0.3756),
        "c": few_shot("imagenet", 16, 0.62954, zero_shot=0.58184),
        "d": few_shot("my birds", 16, 0.7, zero_shot=0.75, seeds=1),
        "e": few_shot("EuroSAT", 1, 0.5063, zero_shot=0.3756),
    }
    assert tables(tmp_path, runs) == {
        "Few-shot classification, openai/clip": [
            ["", "ImageNet", "EuroSAT", "my birds", "Average"],
            ["zero-shot", "58.18", "37.56", "75.00", "56.91"],  # (58.184 + 37.56 + 75) / 3 = 56.9147
            ["CoOp, 1 shot", "–", "50.63 ± 1.00", "62.50 ± 1.00", "–"],
            ["CoOp, 16 shots", "62.95 ± 1.00", "83.53 ± 1.00", "70.00", "72.16"],  # (62.954 + 83.53 + 70) / 3
        ]
    }
    text = (tmp_path / "out" / "report.md").read_text()
    assert "over 1 to 3 seeds" in text
    assert text.count("    train.py coop --shots 16") == 3
    pictures = re.findall(r"!\[.*\]\((.*)\)", text)
    assert len(pictures) == 4
    for picture in pictures:
        with Image.open(tmp_path / "out" / picture) as image:
            assert image.size[0] > 500
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"report.md", *pictures}


def test_one_data_set_has_no_average(tmp_path: Path) -> None:
    assert tables(tmp_path, {"a": few_shot("DTD", 4, 0.5)}) == {
        "Few-shot classification, openai/clip": [
            ["", "DTD"],
            ["zero-shot", "50.00"],
            ["CoOp, 4 shots", "50.00 ± 1.00"],
        ]
    }


def test_rows_name_what_differs_between_variants_and_backbones_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = {
        "a": few_shot("DTD", 4, 0.51),
        "b": few_shot("DTD", 4, 0.52, arguments={"class_specific_context": True}),
        "c": few_shot("DTD", 4, 0.53, arguments={"n_ctx": 4, "context_init": "a photo of a"}),
        "d": few_shot("DTD", 4, 0.54, backbone="other/clip", arguments={"class_token_position": "middle"}),
        "e": few_shot("DTD", 4, 0.55, backbone="other/clip"),
        "f": few_shot("DTD", 4, 0.56, backbone="other/clip", method="Another"),
    }
    found = tables(tmp_path, runs)
    assert [row[0] for row in found["Few-shot classification, openai/clip"][2:]] == [
        'CoOp (M=4, unified, init "a photo of a"), 4 shots',
        "CoOp (M=16, unified, random init), 4 shots",
        "CoOp (M=16, class-specific, random init), 4 shots",
    ]
    assert [row[:2] for row in found["Few-shot classification, other/clip"][2:]] == [
        ["Another, 4 shots", "56.00 ± 1.00"],
        ["CoOp (end), 4 shots", "55.00 ± 1.00"],
        ["CoOp (middle), 4 shots", "54.00 ± 1.00"],
    ]


def base_to_new(name: str, zero_shot: tuple[float, float], learned: tuple[float, float], **changes: Any) -> dict:
    halves = zip(("base", "new"), zero_shot, learned, strict=True)
    return run("base-to-new", name, {half: entry(half, z, a) for half, z, a in halves}, **changes)


def test_base_to_new_has_harmonic_means_and_in_the_average_row_that_of_the_averages(tmp_path: Path) -> None:
    runs = {
        # 2 * 0.6 * 0.3 / 0.9 = 0.4; 2 * 0.9 * 0.6 / 1.5 = 0.72
        "a": base_to_new("DTD", (0.6, 0.3), (0.9, 0.6)),
        # 2 * 0.8 * 0.8 / 1.6 = 0.8; 2 * 0.7 * 0 / 0.7 = 0
        "b": base_to_new("OxfordPets", (0.8, 0.8), (0.7, 0.0), seeds=1),
    }
    assert tables(tmp_path, runs) == {
        "Base-to-new, openai/clip, 16 shots": [
            ["Dataset", "", "Base", "New", "H"],
            ["OxfordPets", "zero-shot", "80.00", "80.00", "80.00"],
            ["OxfordPets", "CoOp", "70.00", "0.00", "0.00"],
            ["DTD", "zero-shot", "60.00", "30.00", "40.00"],
            ["DTD", "CoOp", "90.00 ± 1.00", "60.00 ± 1.00", "72.00"],
            # Averages 70, 55 and 80, 30: 2 * 70 * 55 / 125 = 61.6; 2 * 80 * 30 / 110 = 43.636
            ["Average", "zero-shot", "70.00", "55.00", "61.60"],
            ["Average", "CoOp", "80.00", "30.00", "43.64"],
        ]
    }


def test_base_to_new_averages_have_no_gaps_and_shots_have_tables_of_their_own(tmp_path: Path) -> None:
    runs = {
        "a": base_to_new("DTD", (0.5, 0.5), (0.5, 0.5)),
        "b": base_to_new("EuroSAT", (0.5, 0.5), (0.0, 0.0)),
        "c": base_to_new("DTD", (0.5, 0.5), (0.5, 0.5), arguments={"n_ctx": 4}),
        "d": base_to_new("DTD", (0.5, 0.5), (0.5, 0.5), shots=4),
    }
    found = tables(tmp_path, runs)
    assert list(found) == ["Base-to-new, openai/clip, 4 shots", "Base-to-new, openai/clip, 16 shots"]
    table = found["Base-to-new, openai/clip, 16 shots"]
    assert [row[1:] for row in table if row[0] == "EuroSAT"] == [
        ["zero-shot", "50.00", "50.00", "50.00"],
        ["CoOp (M=4)", "–", "–", "–"],
        ["CoOp (M=16)", "0.00 ± 1.00", "0.00 ± 1.00", "0.00"],
    ]
    assert [row[1:] for row in table if row[0] == "Average"] == [
        ["zero-shot", "50.00", "50.00", "50.00"],
        ["CoOp (M=4)", "–", "–", "–"],
        ["CoOp (M=16)", "25.00", "25.00", "25.00"],
    ]


def test_cross_dataset_averages_the_targets_without_the_source(tmp_path: Path) -> None:
    tests = {
        "source": entry("ImageNet", 0.667, 0.7151),
        "z": entry("DTD", 0.4, 0.42),
        "y": entry("Caltech101", 0.9, 0.94),
    }
    fewer = {"source": entry("ImageNet", 0.667, 0.72), "z": entry("DTD", 0.4, 0.44)}
    runs = {
        "a": run("cross-dataset", "ImageNet", tests),
        "b": run("cross-dataset", "ImageNet", fewer, arguments={"n_ctx": 4}),
        "c": run("cross-dataset", "DTD", {"source": entry("DTD", 0.4, 0.5)}),
    }
    assert tables(tmp_path, runs) == {
        "Cross-dataset from DTD, openai/clip, 16 shots": [
            ["", "DTD (source)", "Average of targets"],
            ["zero-shot", "40.00", "–"],
            ["CoOp", "50.00 ± 1.00", "–"],
        ],
        "Cross-dataset from ImageNet, openai/clip, 16 shots": [
            ["", "ImageNet (source)", "Caltech101", "DTD", "Average of targets"],
            ["zero-shot", "66.70", "90.00", "40.00", "65.00"],
            ["CoOp (M=4)", "72.00 ± 1.00", "–", "44.00 ± 1.00", "–"],
            ["CoOp (M=16)", "71.51 ± 1.00", "94.00 ± 1.00", "42.00 ± 1.00", "68.00"],
        ],
    }


def test_results_without_a_protocol_are_few_shot_results_named_by_their_test_folder(tmp_path: Path) -> None:
    earlier = few_shot("birds", 2, 0.75, zero_shot=0.25)
    del earlier["protocol"], earlier["tests"], earlier["data"]["name"]
    earlier["data"]["test"] = "/data/birds/test"
    earlier |= {
        "zero_shot": {"templates": ["{}"], "accuracy": 0.25, "mean_class_accuracy": 0.2},
        "accuracy": {"mean": 0.75, "std": 0.02},
    }
    table = [["", "birds"], ["zero-shot", "25.00"], ["CoOp, 2 shots", "75.00 ± 2.00"]]
    assert tables(tmp_path, {"a": earlier}) == {"Few-shot classification, openai/clip": table}


@pytest.mark.parametrize(
    ("runs", "rows"),
    [
        (
            {"first": few_shot("DTD", 4, 0.5), "second": few_shot("dtd", 4, 0.6)},
            ["zero-shot", "CoOp, 4 shots", "CoOp (run 2), 4 shots"],
        ),
        (
            dict.fromkeys(("first", "second"), run("cross-dataset", "DTD", {"source": entry("DTD", 0.4, 0.5)})),
            ["zero-shot", "CoOp", "CoOp (run 2)"],
        ),
    ],
)
def test_equal_runs_have_rows_of_their_own_and_a_note(tmp_path: Path, runs: Runs, rows: list[str]) -> None:
    (table,) = tables(tmp_path, runs).values()
    assert [row[0] for row in table[1:]] == rows
    text = (tmp_path / "out" / "report.md").read_text()
    assert re.search(r"second/results\.json repeats .*first/results\.json with the same settings", text)


def test_equal_base_to_new_runs_have_rows_of_their_own(tmp_path: Path) -> None:
    half = base_to_new("DTD", (0.5, 0.5), (0.6, 0.5))
    (table,) = tables(tmp_path, {"first": half, "second": half}).values()
    assert table == [
        ["", "Base", "New", "H"],
        ["zero-shot", "50.00", "50.00", "50.00"],
        ["CoOp", "60.00 ± 1.00", "50.00 ± 1.00", "54.55"],
        ["CoOp (run 2)", "60.00 ± 1.00", "50.00 ± 1.00", "54.55"],
    ]


@pytest.mark.parametrize(
    ("change", "columns"),
    [
        ({"test_images": 99}, ["DTD, 100 test images of 10 classes", "DTD, 99 test images of 10 classes"]),
        ({"classes": 9}, ["DTD, 100 test images of 10 classes", "DTD, 100 test images of 9 classes"]),
        (
            {"zero_shot": {"accuracy": 0.506}},
            ["DTD, 100 test images of 10 classes, test set 1", "DTD, 100 test images of 10 classes, test set 2"],
        ),
        ({"digest": "other"}, None),
    ],
)
def test_other_test_sets_of_one_title_have_columns_and_curves_of_their_own(
    tmp_path: Path, change: dict[str, Any], columns: list[str] | None
) -> None:
    first, second = few_shot("DTD", 4, 0.5), few_shot("DTD", 8, 0.6)
    first["tests"]["test"]["digest"] = "one" if "digest" in change else ""
    second["tests"]["test"] |= change
    (table,) = tables(tmp_path, {"first": first, "second": second}).values()
    assert len(table[0]) == 4  # two test sets and their average
    assert columns is None or sorted(table[0][1:3]) == sorted(columns)
    assert [row[1:3].count("–") for row in table[2:]] == [1, 1]
    report = (tmp_path / "out" / "report.md").read_text()
    assert len(re.findall(r"!\[", report)) == 2


def test_other_templates_have_zero_shot_rows_and_lines_of_their_own(tmp_path: Path) -> None:
    second = few_shot("DTD", 8, 0.6)
    second["tests"]["test"] |= {"templates": ["{}", "a {}"], "zero_shot": {"accuracy": 0.4}}
    (table,) = tables(tmp_path, {"first": few_shot("DTD", 4, 0.5), "second": second}).values()
    assert table == [
        ["", "DTD"],
        ['zero-shot, "a photo of a {}."', "50.00"],
        ['zero-shot, "{}" and 1 more', "40.00"],
        ['CoOp (templates "a photo of a {}."), 4 shots', "50.00 ± 1.00"],
        ['CoOp (templates "{}" and 1 more), 8 shots', "60.00 ± 1.00"],
    ]


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        ("--num_train_epochs 3", "num_train_epochs"),
        ("--max_steps=5", "max_steps"),
        ("--learning_rate 1e-2", "learning_rate"),
    ],
)
def test_runs_of_other_settings_are_no_points_of_one_curve(tmp_path: Path, flags: str, label: str) -> None:
    runs = {"a": few_shot("DTD", 1, 0.5), "b": few_shot("DTD", 4, 0.6) | {"command": f"hf-prompt train coop {flags}"}}
    (table,) = tables(tmp_path, runs).values()
    names = [row[0] for row in table[2:]]
    assert f"CoOp ({label} of the recipe), 1 shot" in names
    assert any(name.startswith(f"CoOp ({label} ") and name.endswith("4 shots") for name in names)


def test_a_run_without_class_names_is_distinguished_from_one_with_them(tmp_path: Path) -> None:
    named = few_shot("DTD", 4, 0.6) | {"command": "hf-prompt train coop --class_names names.csv"}
    (table,) = tables(tmp_path, {"a": few_shot("DTD", 4, 0.5), "b": named}).values()
    names = [row[0] for row in table[2:]]
    assert "CoOp (without class_names), 4 shots" in names
    assert "CoOp (class_names names.csv), 4 shots" in names


def test_runs_of_other_lengths_are_distinguished_by_their_steps(tmp_path: Path) -> None:
    runs = {
        name: few_shot("DTD", 4, 0.5) | {"seeds": {"1": {"steps": steps}}} for name, steps in (("a", 10), ("b", 500))
    }
    (table,) = tables(tmp_path, runs).values()
    assert [row[0] for row in table[2:]] == ["CoOp (10 steps), 4 shots", "CoOp (500 steps), 4 shots"]


def test_runs_trained_on_other_data_are_distinguished(tmp_path: Path) -> None:
    runs = {"a": few_shot("DTD", 4, 0.5), "b": few_shot("DTD", 4, 0.6)}
    for name, result in runs.items():
        result["data"] |= {"train": f"/data/{name}/train", "train_digest": name}
    (table,) = tables(tmp_path, runs).values()
    assert [row[0] for row in table[2:]] == [
        "CoOp (trained on data/a/train), 4 shots",
        "CoOp (trained on data/b/train), 4 shots",
    ]


def test_chance_and_the_number_of_examples_stand_by(tmp_path: Path) -> None:
    result = few_shot("DTD", 4, 0.5)
    result["tests"]["test"]["chance"] = {"accuracy": 0.1}
    (table,) = tables(tmp_path, {"a": result}).values()
    assert table[1] == ["chance", "10.00"]
    assert "DTD: 100 test images of 10 classes." in (tmp_path / "out" / "report.md").read_text()


def test_zero_shot_accuracies_may_differ_as_between_machines(tmp_path: Path) -> None:
    runs = {"a": few_shot("DTD", 4, 0.5, zero_shot=0.5), "b": few_shot("DTD", 8, 0.5, zero_shot=0.5004)}
    assert tables(tmp_path, runs)["Few-shot classification, openai/clip"][1] == ["zero-shot", "50.00"]


def test_targets_of_one_name_are_refused(tmp_path: Path) -> None:
    tests = {name: entry("DTD", 0.4, 0.5) for name in ("source", "a", "b")}
    with pytest.raises(ValueError, match="two targets with the name 'DTD'"):
        tables(tmp_path, {"a": run("cross-dataset", "DTD", tests)})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "line 1"),
        ("[" * 100_000, "recursion"),
        ("[]", "expected a dict, got list"),
        ('{"seeds": {}}', "data is missing"),
        ({"protocol": "zero"}, "the protocol 'zero' is not one of few-shot, base-to-new, cross-dataset"),
        ({"shots": "16"}, "shots must be of type int, got str"),
        ({"shots": True}, "shots must be of type int, got bool"),
        ({"seeds": {}}, "there are no seeds"),
        ({"protocol": "base-to-new"}, "the test on base and new is missing"),
        ({"tests": {"test": entry("DTD", 0.5, 50.0)}}, "mean must be a number from 0 to 1, got 50.0"),
        ({"tests": {"test": entry("DTD", float("nan"), 0.5)}}, "accuracy must be a number from 0 to 1, got nan"),
        ({"tests": {"test": {"title": "DTD"}}}, "zero_shot is missing"),
    ],
)
def test_other_json_is_refused_by_name(tmp_path: Path, text: str | dict[str, Any], message: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(text if isinstance(text, str) else json.dumps(few_shot("DTD", 4, 0.5) | text))
    with pytest.raises(
        ValueError, match=rf"{re.escape(str(path))} is not a result that `hf-prompt train` wrote: .*{message}"
    ):
        accuracies_of(read_result(path))


def test_runs_are_searched_and_found_once(tmp_path: Path) -> None:
    write(tmp_path, {"deep/er/a": few_shot("DTD", 4, 0.5), "b": few_shot("DTD", 8, 0.5)})
    found = read_results([tmp_path, tmp_path / "b" / "results.json"])
    assert [result.value["shots"] for result in found] == [8, 4]
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"empty nor a folder in it contains a results\.json"):
        read_results([tmp_path / "empty"])
    with pytest.raises(ValueError, match=r"There is no .*nowhere"):
        read_results([tmp_path / "nowhere"])


def test_searches_have_no_test_set_and_are_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, {"a": few_shot("DTD", 4, 0.5), "b": {"method": "auto", "estimate": {"value": 0.5}}})
    assert [result.value["method"] for result in read_results([tmp_path])] == ["CoOp"]
    (record,) = caplog.records
    assert record.getMessage().startswith("Left out 1 run(s) of `hf-prompt train auto`, which test on no images")


def test_backbones_on_disk_are_called_by_their_folders_while_these_differ(tmp_path: Path) -> None:
    backbones = ["/models/a/clip", "/models/b/clip", "/other/b/clip", "openai/clip"]
    runs = {str(number): few_shot("DTD", 4, 0.5, backbone=name) for number, name in enumerate(backbones)}
    assert [heading.rpartition(" ")[2] for heading in tables(tmp_path, runs)] == [
        "/models/b/clip",
        "/other/b/clip",
        "a/clip",
        "openai/clip",
    ]


def test_names_cannot_break_a_table() -> None:
    assert markdown_table([["", "a|b\nc"], ["*x*", "1"]]) == "|  | a\\|b c |\n| --- | ---: |\n| \\*x\\* | 1 |"


def test_data_sets_whose_files_would_have_one_name_keep_their_images(tmp_path: Path) -> None:
    tables(tmp_path, {"a": few_shot("my/birds", 4, 0.5), "b": few_shot("my birds", 4, 0.6)})
    assert len(list((tmp_path / "out").glob("*.png"))) == 3


def test_curves_show_zero_shot_lines_and_deviations(tmp_path: Path) -> None:
    def picture(zero_shot: float | None, lines: dict[str, dict[int, tuple[float, float]]]) -> np.ndarray:
        plot_accuracy_by_shots(lines, zero_shot, "$x, {", tmp_path / "curve.png")
        with Image.open(tmp_path / "curve.png") as image:
            return np.asarray(image.convert("RGB")).astype(int)

    blue, orange = (31, 119, 180), (255, 127, 14)

    def count(pixels: np.ndarray, colour: tuple[int, int, int]) -> int:
        return int((abs(pixels - colour).sum(axis=-1) < 30).sum())

    one = {"$A": {1: (0.4, 0.0), 2: (0.5, 0.0), 16: (0.6, 0.0)}}
    plain = picture(None, one)
    assert count(plain, blue) > 500
    assert count(plain, orange) == 0
    assert count(picture(None, one | {"B": {1: (0.5, 0.0), 16: (0.4, 0.0)}}), orange) > 500
    assert count(picture(None, {"$A": {k: (mean, 0.05) for k, (mean, _) in one["$A"].items()}}), blue) > count(
        plain, blue
    )
    black = (0, 0, 0)
    assert count(picture(0.45, one), black) > count(plain, black) + 30


# -- videos ----------------------------------------------------------------------------------------------------------


def of_videos(name: str, shots: int, mean: float, **changes: Any) -> dict[str, Any]:
    test = entry(name, 0.25, mean)
    test["test_videos"] = test.pop("test_images")
    test["zero_shot"]["top5_accuracy"] = 0.75
    test["top5_accuracy"] = {"mean": 0.875, "std": 0.005}
    return run("few-shot", name, {"test": test}, shots, kind="video", method="ActionCLIP") | changes


def of_several_labels(name: str, mean: float) -> dict[str, Any]:
    result = of_videos(name, 0, mean)
    test = result["tests"]["test"]
    test["zero_shot"] = {"accuracy": 0.125, "mean_average_precision": 0.125}
    return result


def test_results_of_videos_have_a_table_of_their_own_with_top5(tmp_path: Path) -> None:
    runs = {"a": of_videos("hmdb", 0, 0.5), "b": of_videos("hmdb", 2, 0.375), "c": few_shot("DTD", 2, 0.5)}
    found = tables(tmp_path, runs)
    assert list(found) == ["Few-shot classification, openai/clip", "Few-shot classification of videos, openai/clip"]
    assert found["Few-shot classification of videos, openai/clip"] == [
        ["", "hmdb: top-1", "hmdb: top-5"],
        ["zero-shot", "25.00", "75.00"],
        ["ActionCLIP, all examples", "50.00 ± 1.00", "87.50 ± 0.50"],
        ["ActionCLIP, 2 shots", "37.50 ± 1.00", "87.50 ± 0.50"],
    ]
    report = (tmp_path / "out" / "report.md").read_text()
    assert re.findall(r"\]\((.*)\.png\)", report) == [
        "few-shot-DTD-openai-clip",
        "few-shot-hmdb-openai-clip",
    ]


def test_training_on_all_examples_alone_makes_no_curve(tmp_path: Path) -> None:
    tables(tmp_path, {"a": of_videos("hmdb", 0, 0.5)})
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["report.md"]


def test_mean_average_precision_is_named_and_not_averaged_with_accuracy(tmp_path: Path) -> None:
    runs = {"a": of_videos("hmdb", 0, 0.5), "b": of_several_labels("charades", 0.25)}
    (table,) = tables(tmp_path, runs).values()
    assert table == [
        ["", "charades: mAP", "hmdb: top-1", "hmdb: top-5"],
        ["zero-shot", "12.50", "25.00", "75.00"],
        ["ActionCLIP, all examples", "25.00 ± 1.00", "50.00 ± 1.00", "87.50 ± 0.50"],
    ]
    assert "mean average precision (mAP) for several labels, in %" in (tmp_path / "out" / "report.md").read_text()


def of_texts(path: Path, bleu: float, seeds: int = 1, **changes: Any) -> dict[str, Any]:
    each = {"test": {"bleu_4": bleu, "cider_d": 1.25}, "steps": 7}
    each["blind"] = {"examples": 4, "test": {"bleu_4": 0.125, "cider_d": 0.5}, "seeing": {}}
    data = {"name": "mugs", "test_name": "mugs", "train": "D", "test": "T", "train_examples": 9, "test_examples": 4}
    return {
        "method": "MAnTiS",
        "task": "image-text-to-text",
        "backbone": "gpt2",
        "vision_model": "resnet",
        "data": data,
        "arguments": {"blind": False},
        "seeds": {str(seed): each for seed in range(1, seeds + 1)},
    } | changes


def score_tables_of(directory: Path, runs: Runs) -> dict[str, list[list[str]]]:
    write_report(read_results([write(directory / "runs", runs)]), directory / "out")
    text = (directory / "out" / "report.md").read_text()
    found = {}
    for section in text.partition("## Commands")[0].split("## ")[1:]:
        heading, *lines = section.splitlines()
        rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if line.startswith("|")]
        found[heading] = [rows[0], *rows[2:]]
    return found


def test_runs_that_generate_text_have_a_table_with_the_blind_baseline(tmp_path: Path) -> None:
    runs = {
        "a": of_texts(tmp_path, 0.5, seeds=2),
        "b": of_texts(tmp_path, 0.25, command="hf-prompt train mantis --num_train_epochs 9"),
        "c": of_texts(tmp_path, 0.75, seeds=2),
    }
    assert score_tables_of(tmp_path, runs) == {
        "Generated texts, gpt2 + resnet, tested on mugs": [
            ["", "bleu_4", "cider_d"],
            ["MAnTiS (num_train_epochs of the recipe): black images", "12.50 ± 0.00", "0.50 ± 0.00"],
            ["MAnTiS (num_train_epochs of the recipe)", "50.00 ± 0.00", "1.25 ± 0.00"],
            ["MAnTiS (num_train_epochs 9): black images", "12.50", "0.50"],
            ["MAnTiS (num_train_epochs 9)", "25.00", "1.25"],
            ["MAnTiS (num_train_epochs of the recipe), run 2: black images", "12.50 ± 0.00", "0.50 ± 0.00"],
            ["MAnTiS (num_train_epochs of the recipe), run 2", "75.00 ± 0.00", "1.25 ± 0.00"],
        ]
    }


def test_video_text_runs_have_tables_by_task(tmp_path: Path) -> None:
    data = {"name": "q", "test_name": "q", "train": "D", "test": "T", "train_texts": 9, "test_texts": 4}
    asked = {"accuracy": 0.5, "by_kind": {"what": 0.25, "who": 1.0}}
    shared = {"method": "ALPRO", "backbone": "/models/alpro", "data": data, "arguments": {}}
    answers = {"1": asked | {"before": {"accuracy": 0.25, "by_kind": {"what": 0.0, "who": 0.5}}, "steps": 3}}
    ranks = {"recall_at_1": 0.5, "recall_at_5": 0.75, "recall_at_10": 1.0, "median_rank": 1.5, "mean_rank": 2.0}
    both = {"text_to_video": ranks, "video_to_text": ranks}
    runs = {
        "a": shared | {"task": "question-answering", "seeds": answers, "answer_prior": 0.375},
        "b": shared | {"task": "retrieval", "seeds": {"1": both | {"before": both, "steps": 3}}},
    }
    found = score_tables_of(tmp_path, runs)
    assert found["Video question answering, models/alpro, tested on q"] == [
        ["", "accuracy", "what", "who"],
        ["ALPRO: before training", "25.00", "0.00", "50.00"],
        ["ALPRO: without the videos", "37.50", "–", "–"],
        ["ALPRO", "50.00", "25.00", "100.00"],
    ]
    table = found["Video-text retrieval, models/alpro, tested on q"]
    assert table[0][1:6] == [f"text to video: {name}" for name in ("R@1", "R@5", "R@10", "median rank", "mean rank")]
    assert table[2] == ["ALPRO", *["50.00", "75.00", "100.00", "1.50", "2.00"] * 2]


@pytest.mark.parametrize("task", ["image-text-to-text", "retrieval"])
def test_results_that_lack_the_scores_of_their_task_are_refused(task: str, tmp_path: Path) -> None:
    write(tmp_path, {"texts": {"method": "M", "task": task, "seeds": {"1": {}}}})
    with pytest.raises(ValueError, match="is not a result that `hf-prompt train` wrote: data is missing"):
        build_sections(read_results([tmp_path]))


def test_results_of_another_kind_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"a": of_videos("hmdb", 0, 0.5, kind="sound")})
    with pytest.raises(ValueError, match="the task 'sound' does not exist"):
        build_sections(read_results([tmp_path]))
