"""Write tables and curves as in the papers, from the results of many runs of `hf-prompt train`.

hf-prompt report runs
hf-prompt report runs/pets-* runs/dtd-16/results.json --output_dir report
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.parsing import examples_parser, parse
from hf_prompt_models.tasks.report import REPORT_FILE, write_report
from hf_prompt_models.tasks.results import read_results


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    parser = examples_parser("hf-prompt report", __doc__)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="a results.json file, or a folder to search for them, including sub-folders",
    )
    parser.add_argument(
        "--output_dir",
        help=f"folder to write {REPORT_FILE} and its figures to (default: the first RUN, or its folder)",
    )
    return {"report": parser}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    arguments = parse(parsers()["report"], argv)
    first = Path(arguments.runs[0])
    output_dir = arguments.output_dir or (first.parent if first.is_file() else first)
    with ending(lambda: "The runs were not changed.", AGAIN):
        print(write_report(read_results(arguments.runs), output_dir))
        print(f"\nSaved: {Path(output_dir) / REPORT_FILE}")
    return 0
