"""Execute the notebooks of examples/ against a local Hub; run as a program, this updates their outputs."""

import argparse
import base64
import hashlib
import io
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from nbclient import NotebookClient
from nbformat import NotebookNode
from PIL import Image

from tests.local_hub import ROOT, LocalHub, serve


EXAMPLES = ROOT / "examples"
NOTEBOOKS = ("few_shot_images", "actions_in_video", "visual_grounding", "product_texts")
SECONDS = 600
"""For a cell, on a machine as busy as it may be."""


def read(name: str) -> NotebookNode:
    return nbformat.read(EXAMPLES / f"{name}.ipynb", as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def source_digest(notebook: NotebookNode) -> str:
    """Of the code, in order: what outputs belong to."""
    return hashlib.sha256(json.dumps([cell.source for cell in code_cells(notebook)]).encode()).hexdigest()


def execute(notebook: NotebookNode, folder: Path, hub: LocalHub, *further: str, **parameters: Any) -> list[Any]:
    """Execute a notebook in a new kernel of this very Python, in an empty folder, and write its outputs into it.

    Args:
        notebook: the notebook, whose earlier outputs are forgotten.
        folder: where to; made.
        hub: the only Hub that it knows.
        further: expressions to evaluate at the end, in the notebook's names.
        parameters: values in place of those that its cell tagged "parameters" gives.

    Returns:
        The values of `further`, as JSON keeps them.
    """
    work, home = folder / "work", folder / "home"
    for each in (work, home):
        each.mkdir(parents=True)
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    environment = hub.environment(home) | {
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_RUNTIME_DIR": str(home),
        "OMP_NUM_THREADS": "1",
        "PATH": programs,  # where hf-prompt is
        "PYTHONWARNINGS": "ignore:IProgress not found",  # tqdm's, where ipywidgets is not installed
        "TOKENIZERS_PARALLELISM": "false",
    }
    values = nbformat.v4.new_code_cell(f"import json; print(json.dumps([{', '.join(further)}]))")
    notebook.cells.append(values)
    (given,) = (cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ()))
    source = given.source
    given.source = "\n".join([source, *(f"{name} = {value!r}" for name, value in parameters.items())])
    client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(work)}})
    kernel = client.create_kernel_manager()
    # Without folders to look in there is one kernel, "python3", of `sys.executable`.
    kernel.kernel_name, kernel.kernel_spec_manager = "python3", KernelSpecManager(kernel_dirs=[])
    with tempfile.TemporaryDirectory() as sockets:  # whose paths must be short
        kernel.transport, kernel.connection_file = "ipc", f"{sockets}/kernel.json"
        client.execute(env=environment)
    notebook.cells.pop()
    given.source = source
    for cell in code_cells(notebook):
        cell.metadata.pop("execution", None)  # when each message came
    # The kernel's own words on the language would name this machine's version of Python.
    notebook.metadata["language_info"] = {"name": "python"}
    notebook.metadata["executed_source"] = source_digest(notebook)
    return json.loads(values.outputs[0].text)


def shrink_pictures(notebook: NotebookNode) -> None:
    """Reduce the images in notebook outputs to 32 shades of red, green and blue, which takes fewer bytes."""
    shades = [round(round(value / 255 * 31) / 31 * 255) for value in range(256)]
    for cell in code_cells(notebook):
        for output in cell.outputs:
            if (png := output.get("data", {}).get("image/png")) is not None:
                smaller = io.BytesIO()
                with Image.open(io.BytesIO(base64.b64decode(png))) as picture:
                    picture.convert("RGB").point(3 * shades).save(smaller, format="png", optimize=True)
                output.data["image/png"] = base64.b64encode(smaller.getvalue()).decode()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=NOTEBOOKS, help="notebooks, without .ipynb; default: all")
    for name in parser.parse_args().names:
        notebook = read(name)
        with serve() as hub, tempfile.TemporaryDirectory() as folder:
            execute(notebook, Path(folder) / name, hub)
        shrink_pictures(notebook)
        nbformat.write(notebook, EXAMPLES / f"{name}.ipynb")
        print(f"{name}: {(EXAMPLES / f'{name}.ipynb').stat().st_size / 1e6:.2f} MB", file=sys.stderr)


if __name__ == "__main__":
    main()
