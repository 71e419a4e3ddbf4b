"""Run the common tests of transformers on every class of this package: `make test-transformers`.

The testers (`ModelTesterMixin`, `ConfigTester`, `ProcessorTesterMixin`) come from the source distribution of the
installed transformers, which pip downloads from the package index; none of them is kept in this repository. The
distribution has only the top level of the tests of transformers. With `--checkout FOLDER`, a git checkout of the same
version of transformers, the tests of generation and of exporters below it are run as well.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


HERE = Path(__file__).parent
ROOT = HERE.parent.parent
PACKAGE = "transformers_tests"
"""What transformers' folder of tests is called here: `tests` is ours."""

STUBS = {
    "__init__.py": "",
    "exporters/test_export.py": "class ExportTesterMixin:\n    pass\n",
    "generation/test_utils.py": "class GenerationTesterMixin:\n    pass\n",
    "utils/test_configuration_utils.py": (
        'config_common_kwargs = {"output_hidden_states": True, "output_attentions": True, "return_dict": False,\n'
        '    "problem_type": "single_label_classification", "id2label": {0: "label"}, "label2id": {"label": 0}}\n'
    ),
}
"""What the testers import, or look up, and the source distribution lacks."""


def fetch_testers(folder: Path) -> None:
    """Put the tests of the installed transformers into a folder, as the package `transformers_tests`."""
    installed = version("transformers")
    # Built by nothing: the tests are read, and the installed package is what they test.
    command = ["download", "--quiet", "--no-deps", "--no-binary", "transformers", "--no-build-isolation"]
    with tempfile.TemporaryDirectory() as downloads:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        subprocess.run([*pip, *command, "--dest", downloads, f"transformers=={installed}"], check=True)
        (archive,) = Path(downloads).glob("*.tar.gz")
        with tarfile.open(archive) as packed:
            packed.extractall(downloads, filter="data")
        tests = Path(downloads, f"transformers-{installed}", "tests")
        if not (tests / "test_modeling_common.py").exists():
            raise SystemExit(
                f"The source distribution of transformers {installed} holds no tests. Pass --checkout FOLDER with a "
                "git checkout of that version."
            )
        place_testers(tests, folder)


def place_testers(tests: Path, folder: Path) -> None:
    """Copy the tests of transformers next to substitutes for their missing modules."""
    shutil.rmtree(folder, ignore_errors=True)
    unfinished = folder.with_name(f"{folder.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    shutil.copytree(tests, unfinished / PACKAGE)
    for name, text in STUBS.items():
        file = unfinished / PACKAGE / name
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            file.write_text(text)
    unfinished.rename(folder)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkout", type=Path, help="a git checkout of transformers in the installed version")
    parsed, pytest_arguments = parser.parse_known_args(arguments)
    folder = ROOT / ".matrix" / f"transformers-{version('transformers')}{'-checkout' if parsed.checkout else ''}"
    if parsed.checkout:
        place_testers(parsed.checkout / "tests", folder)
    elif not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        fetch_testers(folder)
    modules = [name for name in pytest_arguments if name.startswith("tests/")]
    chosen = [] if modules else sorted(str(file.relative_to(ROOT)) for file in HERE.glob("check_*.py"))
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }
    options = ["-c", str(HERE / "transformers.ini"), "--rootdir", str(ROOT), "--confcutdir", str(HERE), "-q"]
    command = [sys.executable, "-m", "pytest", *options, *chosen, *pytest_arguments]
    return subprocess.run(command, cwd=ROOT, env=environment).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
