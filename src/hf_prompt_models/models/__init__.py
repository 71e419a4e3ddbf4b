"""One folder a method. Importing this package imports, and so registers, every one of them."""

import pkgutil
from importlib import import_module


METHODS = tuple(sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg))

for _method in METHODS:
    import_module(f"{__name__}.{_method}")
