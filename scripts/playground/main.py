"""Train the tiny models that the package embeds, and measure the tiny ALPRO.

    python scripts/train_playground.py clip my-clip --seed 1
    python scripts/train_playground.py measure_alpro --seeds 1 2 3

A model is written in the layout of a Hub checkpoint. The first argument names it;
`python scripts/train_playground.py clip --help` lists its flags.
"""

import argparse
from collections.abc import Sequence

from hf_prompt_models.playground import ALPRO_DIR

from .alpro import pretrain_alpro
from .alpro_measures import measure_alpro
from .clip import pretrain_clip
from .language_model import pretrain_language_model
from .vilt import pretrain_vilt


PROGRAM = "python scripts/train_playground.py"


def parsers() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser of the program, and the parsers of what it trains and measures, by their names."""
    program = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = program.add_subparsers(required=True)

    clip = commands.add_parser("clip", help="train the tiny CLIP on drawn images and captions")
    clip.set_defaults(run=pretrain_clip)
    clip.add_argument("output_dir", help="the folder to write")
    clip.add_argument("--seed", type=int, default=0, help="of images, captions, initial weights and order")
    clip.add_argument("--steps", type=int, default=3500, help="optimizer steps")
    clip.add_argument("--pictures", type=int, default=50_000, help="images to draw")

    vilt = commands.add_parser("vilt", help="train the tiny ViLT on scenes")
    vilt.set_defaults(run=pretrain_vilt)
    vilt.add_argument("output_dir", help="the folder to write")
    vilt.add_argument("--seed", type=int, default=0, help="of scenes, captions, initial weights and order")
    vilt.add_argument("--steps", type=int, default=5000, help="optimizer steps at the full learning rate")
    vilt.add_argument("--cooldown_steps", type=int, default=2600, help="further steps, while it falls")

    language_model = commands.add_parser("lm", help="train the tiny language model on texts about product cards")
    language_model.set_defaults(run=pretrain_language_model)
    language_model.add_argument("output_dir", help="the folder to write")
    language_model.add_argument("--seed", type=int, default=0, help="of texts and initial weights")
    language_model.add_argument("--steps", type=int, default=1400, help="optimizer steps")

    alpro = commands.add_parser("alpro", help="train the tiny ALPRO on captioned clips")
    alpro.set_defaults(run=pretrain_alpro)
    alpro.add_argument("output_dir", help="the folder to write")
    alpro.add_argument("--seed", type=int, default=0, help="of clips, sentences, initial weights and order")
    alpro.add_argument("--clips", type=int, default=6000, help="clips to draw")
    alpro.add_argument("--still_steps", type=int, default=1200, help="steps of the prompter, by single frames")
    alpro.add_argument("--contrast_steps", type=int, default=300, help="its further steps, by clips")
    alpro.add_argument("--steps", type=int, default=900, help="steps with all four losses")

    measure = commands.add_parser(
        "measure_alpro",
        help="measure the tiny ALPRO on clips that it was not trained on: retrieval, entities, answers",
    )
    measure.set_defaults(run=measure_alpro)
    measure.add_argument("directory", nargs="?", default=ALPRO_DIR, help="a folder that `alpro` wrote")
    measure.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3], help="of the clips, and of fine-tuning")
    measure.add_argument(
        "--no_questions", dest="questions", action="store_false", help="leave out what needs fine-tuning"
    )

    for parser in commands.choices.values():
        parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    return program, dict(commands.choices)


def main(argv: Sequence[str]) -> None:
    program, _ = parsers()
    arguments = vars(program.parse_args(argv))
    arguments.pop("run")(**arguments)
