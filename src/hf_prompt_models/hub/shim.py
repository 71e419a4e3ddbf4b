"""A module for Hub repositories that imports this package, for users of `trust_remote_code=True`."""

import json
from collections.abc import Mapping
from pathlib import Path


SHIM_MODULE = "hub_shim"
SHIM_FILE = f"{SHIM_MODULE}.py"
PROCESSOR_FILE = "processor_config.json"


def write_shim(folder: Path, package: str, classes: Mapping[str, str]) -> None:
    """Write a module with which the Auto classes find the classes of a package by `trust_remote_code=True`.

    If the package is not installed, loading fails with a message that it must be.

    Args:
        folder: folder of a saved checkpoint.
        package: the package that the classes are imported from.
        classes: for each Auto class, the name of the class that it loads.
    """
    names = ", ".join(sorted(set(classes.values())))
    (folder / SHIM_FILE).write_text(
        f'"""The code is in the package: `pip install {package}`."""\nfrom {package} import {names}  # noqa: F401\n',
        encoding="utf-8",
    )
    auto_map = {auto_class: f"{SHIM_MODULE}.{name}" for auto_class, name in classes.items()}
    _add(folder / "config.json", auto_map)
    if (folder / PROCESSOR_FILE).is_file():  # it is read without the configuration
        _add(folder / PROCESSOR_FILE, {"AutoProcessor": auto_map["AutoProcessor"]})


def _add(file: Path, auto_map: dict[str, str]) -> None:
    content = json.loads(file.read_text(encoding="utf-8")) | {"auto_map": auto_map}
    file.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
