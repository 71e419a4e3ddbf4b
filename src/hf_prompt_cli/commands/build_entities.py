"""Write a vocabulary of entities for ALPRO's prompter: the most frequent nouns of captions.

hf-prompt build_entities captions.json entities.txt --top 1000
hf-prompt build_entities train.jsonl entities.txt --top 50 --entities objects.txt

Captions are a JSON list of texts, or JSONL, JSON or CSV with `caption`, as for `hf-prompt train alpro`. Each line of
the output has an entity and its count, the most frequent first. TextBlob finds the nouns (pip install
'hf_prompt_models[nouns]'). With --entities, TextBlob is not needed, and entities may have several words.
"""

import argparse
from collections.abc import Sequence

from hf_prompt_cli.ending import AGAIN, ending
from hf_prompt_cli.parsing import examples_parser, parse
from hf_prompt_models.data.text.entity_vocabulary import (
    check_captions,
    count_listed,
    count_nouns,
    most_frequent,
    read_captions,
)
from hf_prompt_models.models.alpro.modeling_alpro_prompter import read_entities
from hf_prompt_models.utils.files import write_text


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of this command by the words that call it."""
    parser = examples_parser("hf-prompt build_entities", __doc__)
    parser.add_argument("captions", help="file of captions")
    parser.add_argument("output", help="file to write")
    parser.add_argument("--top", type=int, default=1000, help="number of entities (default: 1000, as in the paper)")
    parser.add_argument(
        "--entities", metavar="FILE", help="file of entities to choose from, one per line, instead of all nouns"
    )
    return {"build_entities": parser}


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    parser = parsers()["build_entities"]
    arguments = parse(parser, argv)
    if arguments.top < 1:
        parser.error(f"expected --top to be at least 1, got {arguments.top}")
    with ending(lambda: f"{arguments.output} was not written.", AGAIN):
        print(build(arguments))
    return 0


def build(arguments: argparse.Namespace) -> str:
    """Write the entities to a file, and return the lines to print.

    Args:
        arguments: The parsed command line.

    Raises:
        ValueError: If no caption names an entity.
    """
    listed = None if arguments.entities is None else read_entities(arguments.entities)
    captions = check_captions(read_captions(arguments.captions))
    counts = count_nouns(captions) if listed is None else count_listed(captions, listed)
    if not counts:
        raise ValueError(
            f"None of the {len(captions)} captions of {arguments.captions} contains an entity. Pass other "
            "captions or entities."
        )
    best = most_frequent(counts, arguments.top)
    write_text(arguments.output, "".join(f"{name} {count}\n" for name, count in best))
    shown = ", ".join(name for name, _ in best[:10])
    fewer = f" (out of the requested {arguments.top}, because there are no more)" if len(best) < arguments.top else ""
    return f"{len(captions)} captions, {len(counts)} entities; wrote {len(best)}{fewer}: {shown}, …"
