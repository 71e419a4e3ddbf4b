"""Train the tiny models that ship with the package, and evaluate the tiny ALPRO.

    python scripts/train_playground.py clip my-clip --seed 1
    python scripts/train_playground.py measure_alpro --seeds 1 2 3

Models are saved in the format of a Hub checkpoint. The first argument selects the model;
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
    """Build the parser of the program, and the parsers of its subcommands, keyed by name."""
    program = argparse.ArgumentParser(
        prog=PROGRAM, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = program.add_subparsers(required=True)

    clip = commands.add_parser("clip", help="train the tiny CLIP on drawn images and captions")
    clip.set_defaults(run=pretrain_clip)
    clip.add_argument("output_dir", help="output folder")
    clip.add_argument(
        "--seed", type=int, default=0, help="random seed of images, captions, initial weights and data order"
    )
    clip.add_argument("--steps", type=int, default=3500, help="number of optimizer steps")
    clip.add_argument("--pictures", type=int, default=50_000, help="number of images to draw")

    vilt = commands.add_parser("vilt", help="train the tiny ViLT on scenes")
    vilt.set_defaults(run=pretrain_vilt)
    vilt.add_argument("output_dir", help="output folder")
    vilt.add_argument(
        "--seed", type=int, default=0, help="random seed of scenes, captions, initial weights and data order"
    )
    vilt.add_argument("--steps", type=int, default=5000, help="number of optimizer steps at a constant learning rate")
    vilt.add_argument(
        "--cooldown_steps", type=int, default=2600, help="number of further steps with a decreasing learning rate"
    )

    language_model = commands.add_parser("lm", help="train the tiny language model on texts about product cards")
    language_model.set_defaults(run=pretrain_language_model)
    language_model.add_argument("output_dir", help="output folder")
    language_model.add_argument("--seed", type=int, default=0, help="random seed of texts and initial weights")
    language_model.add_argument("--steps", type=int, default=1400, help="number of optimizer steps")

    alpro = commands.add_parser("alpro", help="train the tiny ALPRO on captioned clips")
    alpro.set_defaults(run=pretrain_alpro)
    alpro.add_argument("output_dir", help="output folder")
    alpro.add_argument(
        "--seed", type=int, default=0, help="random seed of clips, sentences, initial weights and data order"
    )
    alpro.add_argument("--clips", type=int, default=6000, help="number of clips to draw")
    alpro.add_argument(
        "--still_steps", type=int, default=1200, help="number of training steps of the prompter on single frames"
    )
    alpro.add_argument(
        "--contrast_steps", type=int, default=300, help="number of further training steps of the prompter on clips"
    )
    alpro.add_argument("--steps", type=int, default=900, help="number of training steps with all four losses")

    measure = commands.add_parser(
        "measure_alpro",
        help="evaluate the tiny ALPRO on clips that it was not trained on: retrieval, entities and question answering",
    )
    measure.set_defaults(run=measure_alpro)
    measure.add_argument("directory", nargs="?", default=ALPRO_DIR, help="folder of a model trained with `alpro`")
    measure.add_argument(
        "--seeds", type=int, nargs="+", default=[1, 2, 3], help="random seeds of the clips and of fine-tuning"
    )
    measure.add_argument(
        "--no_questions",
        dest="questions",
        action="store_false",
        help="skip question answering, which needs fine-tuning",
    )

    for parser in commands.choices.values():
        parser.formatter_class = argparse.ArgumentDefaultsHelpFormatter
    return program, dict(commands.choices)


def main(argv: Sequence[str]) -> None:
    """Run the subcommand that the first argument names."""
    program, _ = parsers()
    arguments = vars(program.parse_args(argv))
    arguments.pop("run")(**arguments)
