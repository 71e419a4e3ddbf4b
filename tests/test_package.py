"""The complete package."""

import shutil
import sys
from importlib import import_module
from pathlib import Path

import pytest

import hf_prompt_models
from hf_prompt_models.models import PACKAGES
from tests.programs import run_program


def test_every_methods_public_names_can_be_imported_from_the_package() -> None:
    for method in PACKAGES:
        module = import_module(f"hf_prompt_models.models.{method}")
        public = [name for name in module.__all__ if not name.endswith("PreTrainedModel")]
        missing = set(public) - set(hf_prompt_models.__all__)
        assert not missing, f"export {missing} in hf_prompt_models/__init__.py"
        assert all(getattr(hf_prompt_models, name) is getattr(module, name) for name in public)


@pytest.mark.slow
def test_importing_the_package_imports_no_training_and_no_plotting() -> None:
    code = (
        "import sys, hf_prompt_models; print([m for m in ('matplotlib', 'datasets', 'sklearn') if m in sys.modules])"
    )
    printed = run_program([sys.executable, "-c", code]).stdout
    assert printed.strip() == "[]"


def test_a_built_package_holds_the_texts_of_the_model_cards(tmp_path: Path) -> None:
    """In a checkout they are next to src/."""
    root = Path(__file__).parent.parent
    for file in ("setup.py", "setup.cfg", "README.md"):
        shutil.copy(root / file, tmp_path / file)
    (tmp_path / "src/hf_prompt_models").mkdir(parents=True)
    for file in ("__init__.py", "version.py"):
        shutil.copy(root / "src/hf_prompt_models" / file, tmp_path / "src/hf_prompt_models" / file)
    shutil.copytree(root / "model_cards", tmp_path / "model_cards")
    command = [sys.executable, "setup.py", "-q", "build_py", "--build-lib", "built"]
    assert run_program(command, cwd=tmp_path).returncode == 0
    texts = {file.stem for file in (tmp_path / "built/hf_prompt_models/model_cards").iterdir()}
    assert texts == set(PACKAGES)
