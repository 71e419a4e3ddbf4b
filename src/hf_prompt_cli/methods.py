"""List the methods without importing them, which would import torch."""

from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path


def packages() -> dict[str, str]:
    """Return the package of every method by its name, including methods that other packages register."""
    own = sorted(path.parent.name for path in _folder("hf_prompt_models.models").glob("*/__init__.py"))
    others = {each.name: each.value for each in entry_points(group="hf_prompt_models") if not each.attr}
    return others | {method: f"hf_prompt_models.models.{method}" for method in own}


def methods() -> list[str]:
    """Return the names of all methods."""
    return sorted(packages())


def methods_with(part: str) -> list[str]:
    """Return the methods whose folder has a file `<part>_<method>.py`, such as a recipe."""
    found = packages()
    return [method for method in sorted(found) if (_folder(found[method]) / f"{part}_{method}.py").is_file()]


def _folder(package: str) -> Path:
    top, *inner = package.split(".")
    spec = find_spec(top)  # finding a top-level package does not import it
    if spec is None or spec.origin is None:
        return Path(package)  # a package that is no longer installed has no folder, and so no part
    return Path(spec.origin).parent.joinpath(*inner)
