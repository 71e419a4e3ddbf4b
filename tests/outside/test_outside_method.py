"""A method of a third-party package has all commands that the methods of this package have."""

import json
import os
import shutil
import sys
from pathlib import Path

import pytest
import torch

from hf_prompt_models.playground import CLIP_DIR, write_image_folder
from tests.programs import run_program


HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def install(folder: Path, *entries: str) -> dict[str, str]:
    """Install the package into a folder, with entry points, and return an environment that has it."""
    shutil.copytree(HERE / "anchored_prompts", folder / "anchored_prompts")
    information = folder / "anchored_prompts-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: anchored_prompts\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text("\n".join(["[hf_prompt_models]", *entries, ""]))
    paths = [str(folder), str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}


COMMANDS = """
import json, sys
from hf_prompt_cli.main import main
for line in json.loads(sys.argv[1]):
    if code := main(line.split()):
        sys.exit(code)
from hf_prompt_models.app import image_classification
from hf_prompt_models.app.pages import find_page
assert find_page("run")[1] is image_classification.page
"""


def test_an_installed_method_has_all_commands(tmp_path: Path) -> None:
    environment = install(tmp_path / "site", "anchored = anchored_prompts.anchored")
    write_image_folder(tmp_path / "data", seed=1, train_per_class=2, test_per_class=1)
    (tmp_path / "names.txt").write_text("key\ncup\n")
    torch.save({"state_dict": {"ctx": torch.full((3, 64), 0.25)}, "epoch": 1}, tmp_path / "other.pth.tar-1")
    data = "--train_dir data/train --test_dir data/test"
    commands = [
        f"train anchored --backbone {CLIP_DIR} {data} --shots 2 --augmented_views 0 --output_dir run",
        "evaluate run --test_dir data/test --json evaluated.json",
        "predict run data/test/boat/000.png --csv predicted.csv",
        "report run --output_dir report",
        f"convert anchored --checkpoint other.pth.tar-1 --backbone {CLIP_DIR} --class_names names.txt --output_dir c",
        "predict c data/test/boat/000.png",
    ]
    done = run_program([sys.executable, "-c", COMMANDS, json.dumps(commands)], env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    results = json.loads((tmp_path / "run" / "results.json").read_text())
    assert (results["method"], results["task"]) == ("Anchored", "image-classification")
    assert json.loads((tmp_path / "evaluated.json").read_text())["accuracy"] == results["accuracy"]
    assert "A learned context that is kept small." in (tmp_path / "run" / "README.md").read_text()
    assert "- anchored\n" in (tmp_path / "run" / "README.md").read_text()
    assert "| Anchored, 2 shots |" in (tmp_path / "report" / "report.md").read_text()
    assert len((tmp_path / "predicted.csv").read_text().splitlines()) == 6
    assert "context: 3 x 64" in done.stdout


@pytest.mark.slow
def test_an_installed_method_passes_the_common_tests(tmp_path: Path) -> None:
    environment = install(tmp_path / "site", "anchored = anchored_prompts.anchored")
    tests = ["tests/test_modeling_common.py", "-k", "anchored", "-q", "-p", "no:cacheprovider"]
    done = run_program([sys.executable, "-m", "pytest", *tests], env=environment, cwd=ROOT)
    assert done.returncode == 0, done.stdout[-3000:]
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 10


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["anchored = anchored_prompts.missing", "coop = anchored_prompts.anchored"])
def test_a_method_that_cannot_be_used_is_reported_and_the_others_work(entry: str, tmp_path: Path) -> None:
    environment = install(tmp_path / "site", entry)
    code = "from hf_prompt_models.models import PACKAGES; print(PACKAGES['coop'], 'anchored' in PACKAGES)"
    done = run_program([sys.executable, "-c", code], env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["hf_prompt_models.models.coop", "False"]
    assert f"The method '{entry.split()[0]}' of anchored_prompts." in done.stderr


def test_an_installed_task_is_found_by_its_name(tmp_path: Path) -> None:
    environment = install(tmp_path / "site", "sounds = anchored_prompts.sounds:TASK")
    (tmp_path / "site" / "anchored_prompts" / "sounds.py").write_text(
        "from hf_prompt_models.tasks.image_classification.task import ImageClassification\n"
        "class Sounds(ImageClassification):\n    name = 'sounds'\nTASK = Sounds()\n"
    )
    code = "from hf_prompt_models.tasks.base import task_named; print(type(task_named('sounds')).__name__)"
    done = run_program([sys.executable, "-c", code], env=environment)
    assert (done.returncode, done.stdout.strip()) == (0, "Sounds"), done.stderr
