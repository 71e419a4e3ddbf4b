"""The wheel works without the repository: installed to a new folder, and run in another working folder."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pictures import write_pictures
from tests.programs import run_program


ROOT = Path(__file__).parents[2]
HfPrompt = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the package alone, installed from its wheel; what it needs is there already."""
    folder = tmp_path_factory.mktemp("wheel")
    for name in ("setup.py", "setup.cfg", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    for name in ("src", "model_cards"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input"]
    wheels = folder / "wheels"
    build = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), "."]
    assert run_program(build, cwd=folder).returncode == 0
    (wheel,) = wheels.iterdir()
    packages = folder / "packages"
    install = [*pip, "install", "--no-deps", "--no-compile", "--target", str(packages), str(wheel)]
    done = run_program(install, env=os.environ | {"PYTHONPATH": ""}, cwd=folder)
    assert done.returncode == 0, done.stderr
    return packages


@pytest.fixture(scope="module")
def command(installed: Path) -> list[str]:
    """The command as pip installed it."""
    return [sys.executable, str(installed / "bin" / "hf-prompt")]


@pytest.fixture(scope="module")
def environment(installed: Path) -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(installed), "COLUMNS": "100"}


@pytest.fixture(scope="module")
def hf_prompt(command: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> HfPrompt:
    """Run the command in a working folder with a few images."""
    folder = tmp_path_factory.mktemp("elsewhere")
    write_pictures(folder / "train", {"cat": 2, "dog": 2})
    write_pictures(folder / "test", {"cat": 1, "dog": 1}, seed=1)

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return run_program([*command, *words], env=environment, cwd=folder)

    return run


def test_the_wheel_is_what_is_run(environment: dict[str, str], installed: Path, tmp_path: Path) -> None:
    code = "from importlib.util import find_spec as f; print(f('hf_prompt_models').origin, f('hf_prompt_cli').origin)"
    places = run_program([sys.executable, "-c", code], env=environment, cwd=tmp_path).stdout.split()
    assert places == [str(installed / name / "__init__.py") for name in ("hf_prompt_models", "hf_prompt_cli")]


def test_the_wheel_has_the_tiny_models_but_neither_their_training_nor_benchmarks(installed: Path) -> None:
    files = {path.relative_to(installed) for path in installed.rglob("*.*") if path.is_file()}
    assert Path("hf_prompt_models/playground/clip/model.safetensors") in files
    assert not [path for path in files if path.name.startswith("benchmark") or path.name == "measuring.py"]
    assert {path.name for path in files if "pretraining" in path.name} == {"modeling_alpro_pretraining.py"}


@pytest.mark.slow
def test_help_training_and_prediction_work(hf_prompt: HfPrompt) -> None:
    shown = hf_prompt("--help")
    assert shown.returncode == 0
    assert "hf-prompt demo" in shown.stdout
    flags = "--backbone playground --train_dir train --test_dir test --shots 2 --output_dir mine --max_steps 2"
    trained = hf_prompt("train", "coop", *flags.split())
    assert trained.returncode == 0, trained.stderr
    assert trained.stderr.count("2/2 [") >= 1  # one bar
    program, *following = re.search(r"Predict with: (.*)", trained.stdout)[1].split()
    assert (program, following) == ("hf-prompt", ["predict", "mine", "photo.jpg"])
    predicted = hf_prompt("predict", "mine", "test/dog/000.png", "--json")
    assert predicted.returncode == 0, predicted.stderr
    (entry,) = json.loads(predicted.stdout)
    assert {each["label"] for each in entry["predictions"]} == {"cat", "dog"}
    wrong = hf_prompt("train", "coop", "--shot", "2")
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Did you mean --shots?" in wrong.stderr


@pytest.mark.slow
def test_the_demo_and_the_page_work(command: list[str], environment: dict[str, str], tmp_path: Path) -> None:
    shown = run_program([*command, "demo"], seconds=900, env=environment, cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    by_hand, learned = (float(value) for value in re.findall(r"^(?:zero-shot|CoOp).* ([\d.]+)%$", shown.stdout, re.M))
    assert learned > by_hand + 5
    page = subprocess.Popen([*command, "app", "hf-prompt-demo/coop", "--port", "7999"], env=environment, cwd=tmp_path)
    try:
        for _ in range(240):
            time.sleep(1)
            try:
                with urllib.request.urlopen("http://127.0.0.1:7999/") as answer:
                    assert b"gradio" in answer.read()
                    break
            except OSError:
                assert page.poll() is None
        else:
            pytest.fail("the page did not come up")
    finally:
        page.terminate()
        assert page.wait(60) in (0, 143)
