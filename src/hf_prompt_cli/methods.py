"""Which methods there are, found without importing one, which would import torch."""

from importlib.util import find_spec
from pathlib import Path


def methods() -> list[str]:
    """All methods."""
    return sorted(path.parent.name for path in _models().glob("*/__init__.py"))


def methods_with(part: str) -> list[str]:
    """The methods whose folder has a `<part>_<method>.py`, such as a recipe."""
    return [method for method in methods() if (_models() / method / f"{part}_{method}.py").is_file()]


def _models() -> Path:
    spec = find_spec("hf_prompt_models")  # of a top-level package, which is not imported for it
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "models"
