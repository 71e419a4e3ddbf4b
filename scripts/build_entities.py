#!/usr/bin/env python
"""Make a vocabulary of entities from captions, for ALPRO's prompter: their most frequent nouns.

python scripts/build_entities.py captions.json entities.txt --top 1000
python scripts/build_entities.py train.jsonl entities.txt --top 50 --entities objects.txt

Captions are a JSON list of texts, or JSONL, JSON or CSV with `caption`, as for train.py. Each line of the file has an
entity and how often it is there, most frequent first. Nouns are found by TextBlob (pip install '.[nouns]'); a list of
entities needs no tagger and may hold names of several words.
"""

import argparse
import sys

from hf_prompt_models.data.entity_vocabulary import (
    check_captions,
    count_listed,
    count_nouns,
    most_frequent,
    read_captions,
)
from hf_prompt_models.data.files import write_text
from hf_prompt_models.models.alpro.entities_alpro import read_entities


def main(argv: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("captions", help="the captions' file")
    parser.add_argument("output", help="the file to write")
    parser.add_argument("--top", type=int, default=1000, help="how many (default: 1000, as the paper has it)")
    parser.add_argument("--entities", metavar="FILE", help="choose from these, one a line, instead of all nouns")
    arguments = parser.parse_args(argv)
    if arguments.top < 1:
        parser.error(f"--top is at least 1; got {arguments.top}")
    try:
        print(build(arguments))
    except (ImportError, OSError, ValueError) as error:
        sys.exit(f"error: {error}")


def build(arguments: argparse.Namespace) -> str:
    listed = None if arguments.entities is None else read_entities(arguments.entities)
    captions = check_captions(read_captions(arguments.captions))
    counts = count_nouns(captions) if listed is None else count_listed(captions, listed)
    if not counts:
        raise ValueError(f"None of the {len(captions)} captions of {arguments.captions} names an entity.")
    best = most_frequent(counts, arguments.top)
    write_text(arguments.output, "".join(f"{name} {count}\n" for name, count in best))
    shown = ", ".join(name for name, _ in best[:10])
    fewer = f" (only so many are there, of the {arguments.top} wanted)" if len(best) < arguments.top else ""
    return f"{len(captions)} captions, {len(counts)} entities; wrote {len(best)}{fewer}: {shown}, …"


if __name__ == "__main__":
    main(sys.argv[1:])
