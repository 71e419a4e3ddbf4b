"""One folder a method. Importing this package imports, and so registers, every one of them."""

import pkgutil
from importlib import import_module
from importlib.util import find_spec


METHODS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))

for _method in METHODS:
    import_module(f"{__name__}.{_method}")


def methods_with(part: str) -> list[str]:
    """The methods whose folder has a `<part>_<method>.py`, such as a recipe."""
    return [method for method in METHODS if find_spec(f"{__name__}.{method}.{part}_{method}")]
