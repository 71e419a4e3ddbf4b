"""Writes cli.md, every command with every flag of its own, from the parsers: nothing in it can be out of date."""

import argparse
from dataclasses import MISSING, fields
from itertools import zip_longest
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from transformers import TrainingArguments

from hf_prompt_cli.main import HELP, parsers


TRAINERS = {each.name: each for each in fields(TrainingArguments)}
TRAINER_PAGE = "https://huggingface.co/docs/transformers/main_classes/trainer#transformers.TrainingArguments"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    files.append(File.generated(config, "cli.md", content=reference()))
    return files


def reference() -> str:
    """The page."""
    parts = [f"# Commands\n\n```text\n{HELP}```"]
    parts += [f"## hf-prompt {words}\n\n{describe(parser)}" for words, parser in parsers().items()]
    return "\n\n".join(parts) + "\n"


def describe(parser: argparse.ArgumentParser) -> str:
    """A command: what it does, its flags group by group, and which of the Trainer's settings it has in its own way."""
    parts = [f"```text\n{(parser.description or '').strip()}\n```"]
    for group in parser._action_groups:
        own = [action for action in group._group_actions if action.dest not in {*TRAINERS, "help"}]
        if own:
            title = "" if group.title in ("positional arguments", "options") else f"**{group.title}**\n\n"
            rows = "\n".join(f"| {name_of(action)} | {help_of(parser, action)} |" for action in own)
            parts.append(f"{title}| | |\n|---|---|\n{rows}")
    if any(action.dest in TRAINERS for action in parser._actions):
        parts.append(trainers_settings(parser))
    return "\n\n".join(parts)


def name_of(action: argparse.Action) -> str:
    """`--flag VALUE`; a flag of several names has them all, but for those that only have other dashes."""
    names = [name for name in action.option_strings if "-" not in name.lstrip("-")] or action.option_strings
    if action.nargs == 0:
        return " ".join(f"`{name}`" for name in names)
    values = "|".join(map(str, action.choices)) if action.choices else str(action.metavar or action.dest.upper())
    if isinstance(action.metavar, tuple):
        values = " ".join(action.metavar)
    values += " …" if action.nargs in ("+", "*") else ""
    return cell(" ".join(f"`{name}`" for name in names) + f" `{values}`")


def help_of(parser: argparse.ArgumentParser, action: argparse.Action) -> str:
    formatter = parser._get_formatter()
    if action.option_strings and action.option_strings[0].startswith("--no_"):
        return f"The opposite of `--{action.dest}`."
    needed = "**Needed.** " if action.option_strings and action.required else ""
    return needed + cell(formatter._expand_help(action) if action.help else "")


def cell(text: str) -> str:
    """Text that stays within its cell of a table, and in which nothing but `code` is taken for Markdown or HTML."""
    said = " ".join(text.split()).replace("|", r"\|").split("`")
    plain = [part.replace("<", "&lt;").replace("*", r"\*").replace("_", r"\_") for part in said[::2]]
    return "`".join(part for pair in zip_longest(plain, said[1::2]) for part in pair if part is not None)


def trainers_settings(parser: argparse.ArgumentParser) -> str:
    changed = []
    for name, theirs in TRAINERS.items():
        usual: Any = theirs.default_factory() if theirs.default_factory is not MISSING else theirs.default
        value = parser.get_default(name)
        if name != "output_dir" and value is not None and value != usual:
            changed.append(f"`--{name} {getattr(value, 'value', value)}`")
    return (
        f"Besides, every flag of transformers' [TrainingArguments]({TRAINER_PAGE}), `--output_dir` above all. "
        f"Defaults that differ from the Trainer's: {', '.join(changed)}."
    )
