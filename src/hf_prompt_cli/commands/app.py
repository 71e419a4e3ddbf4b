"""Show a web page for a model, or export the page as a Hugging Face Space.

hf-prompt app runs/mine/seed-1
hf-prompt app you/name --port 8000
hf-prompt app runs/retrieval --clips clips/
hf-prompt app runs/mine/seed-1 --export_space space/
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from hf_prompt_cli.parsing import examples_parser, parse


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    return {"app": make_parser()}


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of this command."""
    parser = examples_parser("hf-prompt app", __doc__)
    parser.add_argument("model", metavar="MODEL_DIR", help="model folder, output folder of a run, or Hub id")
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="address to listen on (default: 127.0.0.1, this machine only); 0.0.0.0 accepts connections "
        "from other machines",
    )
    parser.add_argument(
        "--port", type=int, metavar="N", help="port to listen on (default: the first free one from 7860)"
    )
    parser.add_argument("--clips", type=Path, metavar="DIR", help="retrieval: folder of videos to search")
    parser.add_argument(
        "--proposals",
        metavar="MODEL",
        help="grounding: object-detection or mask-generation model that finds candidate regions",
    )
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="current location of the backbone, if it moved since training; `playground`: the tiny model "
        "that ships with the package",
    )
    parser.add_argument(
        "--device",
        metavar="D",
        help="device to run the model on: cpu, cuda, … (default: the accelerator, if there is one)",
    )
    parser.add_argument(
        "--export_space", type=Path, metavar="DIR", help="write a Space to this folder instead of showing the page"
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    arguments = parse(make_parser(), argv)

    from hf_prompt_cli.ending import ending

    with ending(lambda: "No files were changed."):
        from hf_prompt_models.app import Options, export_space, serve

        options = Options(arguments.clips, arguments.proposals, arguments.device, arguments.backbone)
        if arguments.export_space is None:
            serve(arguments.model, options, arguments.host, arguments.port)
        else:
            export_space(arguments.model, arguments.export_space, options)
            print(
                f"The Space is in {arguments.export_space}. Try it with: python {arguments.export_space}/app.py\n"
                f"Publish it with: hf upload --repo-type space USER/NAME {arguments.export_space}"
            )
    return 0
