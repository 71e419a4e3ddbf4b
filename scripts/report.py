#!/usr/bin/env python
"""Tables and curves as in the papers, from the results of many runs of train.py.

python scripts/report.py runs
python scripts/report.py runs/pets-* runs/dtd-16/results.json --output_dir report
"""

import argparse
import sys
from pathlib import Path

from hf_prompt_models.training.report import REPORT_FILE, write_report
from hf_prompt_models.training.results import read_results


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a results.json, or a folder that is searched for them, sub-folders too"
    )
    parser.add_argument(
        "--output_dir", help=f"where {REPORT_FILE} and the pictures go (default: the first RUN, or its folder)"
    )
    arguments = parser.parse_args(argv)
    first = Path(arguments.runs[0])
    output_dir = arguments.output_dir or (first.parent if first.is_file() else first)
    try:
        tables = write_report(read_results(arguments.runs), output_dir)
    except (OSError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(tables)
    print(f"\nWritten: {Path(output_dir) / REPORT_FILE}")


if __name__ == "__main__":
    main(sys.argv[1:])
