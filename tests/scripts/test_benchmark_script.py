"""benchmark.py measures both implementations, and their results agree."""

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from hf_prompt_models import AlproForVideoTextRetrieval
from hf_prompt_models.data.text.captioned_videos import read_captioned_videos
from hf_prompt_models.playground import CLIP_DIR
from hf_prompt_models.tasks.video_text.evaluation import retrieve
from scripts.benchmarks.action_clip import token_ids
from scripts.benchmarks.main import MODULES, TEXT_SIDE, main
from scripts.benchmarks.text_side import MODELS
from tests.models.alpro import little
from tests.programs import run_program
from tests.stand_ins_language import gpt2, resnet_152
from tests.videos import write_frames
from tests.vision_language_stand_ins import dandelin_vilt_b32_mlm


SCRIPT = Path(__file__).parents[2] / "scripts" / "benchmark.py"


def rows(markdown: str, heading: str) -> list[dict[str, str]]:
    """Return the table under a heading."""
    lines = markdown.split(f"### {heading}")[1].split("###")[0].strip().splitlines()
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return [dict(zip(cells[0], row, strict=True)) for row in cells[2:]]


@pytest.mark.slow
def test_both_arms_of_coop_agree_and_the_tables_are_written(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = "--classes 3 --n_ctx 2 --layouts end class-specific --repeats 1 --chunk 2 --steps 3 --batch_size 4"
    output = tmp_path / "performance.md"
    main(["coop", *flags.split(), "--parts", "text", "training", "--output", str(output)])
    markdown = output.read_text(encoding="utf-8")
    assert f"python scripts/benchmark.py coop {flags}" in markdown
    assert "Text side of a training step" in capsys.readouterr().out
    for row in rows(markdown, "Text side"):
        assert float(row["features differ"]) < 1e-5
        assert float(row["gradients differ"]) < 1e-5
        assert float(row["full-length MiB"]) > float(row["ours MiB"])
    for row in rows(markdown, "3 steps"):
        assert float(row["context change"]) > 0.01
        assert float(row["contexts differ"]) < 1e-5


@pytest.mark.parametrize(
    "method", [name if name == "kgcoop" else pytest.param(name, marks=pytest.mark.slow) for name in TEXT_SIDE]
)
def test_both_arms_of_prompts_in_the_text_tower_agree(method: str, capsys: pytest.CaptureFixture) -> None:
    main([method, *["--classes", "3", "--repeats", "1"]])
    (row,) = rows(capsys.readouterr().out, "Text side")
    assert float(row["features differ"]) < 1e-5
    assert float(row["gradients differ"]) < 1e-5
    assert float(row["times less"]) > 5


@pytest.mark.slow
def test_both_arms_of_cocoop_agree(capsys: pytest.CaptureFixture) -> None:
    main(["cocoop", *["--classes", "3", "--repeats", "1", "--images", "2", "--measured_images", "1"]])
    markdown = capsys.readouterr().out
    (step,), (evaluation,) = rows(markdown, "Training step"), rows(markdown, "Evaluation")
    assert max(float(step["logits differ"]), float(step["gradients differ"])) < 1e-4
    assert float(step["times less"]) > 2
    assert float(evaluation["logits differ"]) < 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("full", [True, False], ids=["full", "estimated"])
def test_both_arms_of_action_clip_agree(full: bool, capsys: pytest.CaptureFixture) -> None:
    flags = f"--backbone {CLIP_DIR} --num_classes 5 --num_templates 3 --chunk 4 --num_frames 2 --num_clips 2"
    flags += " --seconds 0.2 --num_workers 1 --batch_size 2 --eval_batch_sizes 2 --repeats 1 --post_network lstm"
    parts = ["--full"] if full else ["--sampled_classes", "2", "--parts", "text"]
    main(["action_clip", *flags.split(), *parts])
    markdown = capsys.readouterr().out
    assert ("**Estimated:** 6 of 15 sentences" in markdown) != full
    (first,) = rows(markdown, "Text side")
    assert (first["classes"], first["templates"]) == ("5", "3")
    assert float(first["features differ"]) < 1e-5
    assert float(first["times fewer tokens"]) > 1
    assert min(float(first["ours later s"]), float(first["ours first s"])) >= 0
    (later,) = rows(markdown, "Prediction of further batches")
    assert float(later["logits differ at most by"]) < 1e-3
    if not full:
        return
    clips = rows(markdown, "Clips per second")
    assert all(float(row["clips per second"]) > 0 for row in clips)
    assert [row["features differ"] for row in clips if row["what"].startswith(("image", "both"))] == ["0.0e+00"] * 3
    (step,) = rows(markdown, "Training step")
    assert float(step["losses differ"]) < 1e-5
    assert float(step["gradients differ"]) < 1e-4
    assert min(float(step["cached features s"]), float(step["with the encoder s"])) >= 0


@pytest.mark.slow
def test_feature_adapters_are_measured_against_the_passes_of_the_released_codes(capsys: pytest.CaptureFixture) -> None:
    main(["feature_adapter", *["--classes", "3", "--shots", "2", "--views", "1", "--measured_images", "1"]])
    found = {row["type"]: row for row in rows(capsys.readouterr().out, "Heads over stored features")}
    assert {name: row["released passes"] for name, row in found.items()} == {
        "clap": "20",
        "linear": "20",
        "lp++": "1",
        "taskres": "100",
        "tip_adapter": "10",
        "tip_adapter_f": "20",
        "clip_adapter": "100",
    }
    assert all(float(row["next run"]) >= 1 for row in found.values())


def test_stand_in_tokens_are_pieces_of_words() -> None:
    first, second = token_ids(["Playing guitar", "the playing, somersaulting"])
    assert first[0] == second[0] == 49406
    assert first[-1] == second[-1] == 49407
    assert len(first) == 2 + 2 + 1  # playin|g, guitar
    assert len(second) == 2 + 1 + 2 + 1 + 3
    assert first[1:3] == second[2:4]


@pytest.mark.parametrize("flag", ["--num_classes 401", "--num_templates 17", "--num_clips 1", "--batch_size 0"])
def test_sizes_that_make_no_sense_are_refused(flag: str) -> None:
    with pytest.raises(SystemExit, match=flag.split()[0]):
        main(["action_clip", *flag.split()])


def test_what_can_be_measured_is_listed(tmp_path: Path) -> None:
    shown = run_program([sys.executable, str(SCRIPT), "--help"], cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert f"Benchmarks: {', '.join(MODULES)}\n" in shown.stdout
    assert set(TEXT_SIDE) == MODELS.keys()


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["frozen"], "there is no benchmark 'frozen'."),
        (["imports"], "Did you mean import?"),
        (["coop", "--class", "3"], "Did you mean --classes?"),
    ],
)
def test_an_unknown_benchmark_or_flag_is_wrong_usage(
    argv: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(argv)
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_benchmark_reports_what_is_measured(
    number: signal.Signals, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr("scripts.benchmarks.main.printed", lambda _: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit, match=str(code)):
        main(["coop", "--output", "p.md"])
    assert capsys.readouterr().err.startswith("\ninterrupted. The printed results are valid, and are also in p.md.")


def test_generation_with_the_cache_chooses_the_tokens_of_both_slow_arms(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """All tokens are measured, for several images and image tokens per product."""
    language_model, vision_model = gpt2(tmp_path / "gpt2"), resnet_152(tmp_path / "resnet")
    flags = ["--language_model", str(language_model), "--vision_model", str(vision_model), "--batch_size", "3"]
    flags += ["--images", "2", "--num_image_tokens", "2", "--new_tokens", "6", "--title_tokens", "5", "--full"]
    main(["mantis", *flags])
    printed = capsys.readouterr().out
    lines = [line for line in printed.splitlines() if "again |" in line]
    assert [line.split("|")[-2].strip() for line in lines] == ["100%", "100%"]
    assert "6 new tokens after 10;" in printed
    assert "Estimated" not in printed
    with pytest.raises(SystemExit, match="Pass both or neither"):
        main(["mantis", *flags[:2]])


@pytest.mark.slow
def test_searching_clips_is_measured_against_reading_every_pair(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    flags = "alpro --clips 40 --texts 3 --k 2 --hidden_size 32 --num_layers 2 --image_size 32 --batch_size 8"
    main(flags.split())
    markdown = capsys.readouterr().out
    best, every = rows(markdown, "Search 40 encoded clips with 3 texts")
    assert (best["pairs"], every["pairs"]) == ("6", "120")
    less = float(re.search(r"([\d.]+) times less work", markdown)[1])
    assert 12 < less < 20  # 20 if texts alone cost nothing

    model = little.lively(AlproForVideoTextRetrieval(little.config(num_entities=0)))
    model.processor = little.processor()
    model.save_pretrained(tmp_path / "model")
    lines = []
    for number, word in enumerate(little.WORDS[:6]):
        write_frames(tmp_path / f"clip{number}", number + 2)
        lines.append(json.dumps({"video": f"clip{number}", "caption": f"a {word}"}))
    (tmp_path / "list.jsonl").write_text("\n".join(lines))
    trained = f"alpro --model {tmp_path}/model --captions {tmp_path}/list.jsonl --clips 6 --k 2 --texts 6"
    main(trained.split())
    found = rows(capsys.readouterr().out, "Search 6 encoded clips with 6 texts")
    captions = read_captioned_videos(tmp_path / "list.jsonl")
    for row, rerank in zip(found, (2, 0), strict=True):
        expected = retrieve(model, model.processor, captions, rerank).metrics()["text_to_video"]["recall_at_1"]
        assert float(row["R@1 %"]) == pytest.approx(100 * expected, abs=0.06)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--clips 0", "--clips to be at least 1"),
        ("--clips 16", "nothing to compare"),
        ("--model m", "Pass both or neither"),
        ("--model playground --captions f", "whose clips are drawn"),
    ],
)
def test_searches_that_make_no_sense_are_refused(flags: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["alpro", *flags.split()])


def test_both_arms_of_cpt_agree(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    vilt = dandelin_vilt_b32_mlm(tmp_path / "vilt-b32-mlm")
    main(["cpt", "--backbone", str(vilt), "--regions", "2", "7", "--size", "90", "60"])
    measured = re.findall(r"^\| +(\d+) \|.*\| +([\d.e+-]+) \|$", capsys.readouterr().out, re.MULTILINE)
    assert [count for count, _ in measured] == ["2", "7"]
    assert all(float(difference) < 1e-4 for _, difference in measured)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--colors 7", "from 1 to 6"),
        ("--regions 0", "--regions to be at least 1"),
        (f"--backbone {CLIP_DIR}", "a CLIPModel"),
    ],
)
def test_grounding_that_makes_no_sense_is_refused(flags: str, message: str) -> None:
    with pytest.raises(SystemExit, match=message):
        main(["cpt", *flags.split()])
