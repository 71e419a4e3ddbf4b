"""Print the tokens nearest to the context vectors of a learned prompt.

hf-prompt interpret runs/coop/seed-1 --top_k 5 --metric cosine
"""

import argparse
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from transformers import AutoModelForImageClassification, AutoProcessor
from transformers.utils import logging

import hf_prompt_models  # noqa: F401  registers the methods with the Auto classes
from hf_prompt_cli.ending import ending
from hf_prompt_cli.parsing import examples_parser, parse
from hf_prompt_models.prompts.nearest_tokens import nearest_tokens, typical_nearest_score
from hf_prompt_models.tasks.arguments import output_file
from hf_prompt_models.tasks.image_classification.task import check_image_classifier
from hf_prompt_models.training.run_folder import describe_interrupted, model_directory
from hf_prompt_models.utils.files import write_json


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    parser = examples_parser("hf-prompt interpret", __doc__)
    parser.add_argument("model", metavar="MODEL_DIR", help="model folder")
    parser.add_argument("--top_k", type=int, default=5, help="number of tokens per context vector (default: 5)")
    parser.add_argument(
        "--metric",
        choices=["euclidean", "cosine"],
        default="euclidean",
        help="how tokens are compared: euclidean distance (default) or cosine similarity",
    )
    parser.add_argument(
        "--class_name",
        nargs="+",
        metavar="NAME",
        help="classes to show, if the context is class-specific (default: all)",
    )
    parser.add_argument(
        "--backbone",
        metavar="DIR",
        help="current location of the backbone, if it moved since training; `playground`: the tiny model "
        "that ships with the package",
    )
    parser.add_argument("--json", metavar="FILE", type=output_file, help="also write the tokens to this file")
    return {"interpret": parser}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    arguments = parse(parsers()["interpret"], argv)
    logging.disable_progress_bar()
    with ending(lambda: f"{arguments.model} was not changed."):
        result = interpret(arguments)
        print_table(result)
        if arguments.json:
            write_json(arguments.json, result)
    return 0


def interpret(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the nearest tokens of each context vector, as `--json` writes them.

    Args:
        arguments: The parsed command line.

    Raises:
        ValueError: If the model has no learned context, or not the classes that are named.
    """
    directory = model_directory(arguments.model)
    if said := describe_interrupted(arguments.model, {"-": directory}):
        print(said, file=sys.stderr)
    check_image_classifier(directory)
    moved = {} if arguments.backbone is None else {"base_model_name_or_path": arguments.backbone}
    model = AutoModelForImageClassification.from_pretrained(directory, **moved)
    if model.context is None:
        raise ValueError(
            f"{directory} contains no learned context, because its prompts are hand-written. Pass a model with a "
            "learned context, such as CoOp."
        )
    context, names = model.context[None], [None]
    if model.context.dim() == 3:
        context, names = model.context, model.config.class_names
    if arguments.class_name:
        if names == [None]:
            raise ValueError(
                "--class_name applies only to a class-specific context, but all classes of this model share one. "
                "Remove the flag."
            )
        unknown = sorted(set(arguments.class_name) - set(names))
        if unknown:
            raise ValueError(f"{directory} has no class {', '.join(map(repr, unknown))}. Pass a class of the model.")
        chosen = [index for index, name in enumerate(names) if name in arguments.class_name]
        context, names = context[chosen], [names[index] for index in chosen]
    embeddings = model.token_embedding.weight
    tokenizer = AutoProcessor.from_pretrained(directory).tokenizer
    nearest = nearest_tokens(context, embeddings, tokenizer, arguments.top_k, arguments.metric)
    n_ctx = context.shape[1]
    return {
        "model": str(directory),
        "metric": arguments.metric,
        "typical_nearest": typical_nearest_score(embeddings, tokenizer, arguments.metric),
        "contexts": [
            {
                "class_name": name,
                "vectors": [[vars(token) for token in tokens] for tokens in nearest[start : start + n_ctx]],
            }
            for name, start in zip(names, range(0, len(nearest), n_ctx), strict=True)
        ],
    }


def print_table(result: dict[str, Any]) -> None:
    """Print the nearest tokens of each context vector."""
    for context in result["contexts"]:
        if context["class_name"] is not None:
            print(context["class_name"])
        for number, tokens in enumerate(context["vectors"], start=1):
            print(f"{number:4}  " + "  ".join(f"{token['text']:>12} {token['score']:.4f}" for token in tokens))
    median = statistics.median(tokens[0]["score"] for context in result["contexts"] for tokens in context["vectors"])
    measure = {"euclidean": "Distance", "cosine": "Similarity"}[result["metric"]]
    print(
        f"\n{measure} of a vector to its nearest token: {median:.4f} (median); of a token to its nearest "
        f"other token: {result['typical_nearest']:.4f}.\nThe nearest words do not explain what the prompt "
        "does: after training, no token is close to a vector. The authors\nof CoOp also found them hard to "
        "interpret."
    )
