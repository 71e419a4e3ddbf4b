"""Every documented flag exists, and every flag is documented."""

import argparse
import re
import runpy

import pytest

from hf_prompt_cli.main import flags, parsers
from scripts.benchmarks.main import MODULES, parser_of
from scripts.playground import main as playground
from tests.docs.pages import PAGES, ROOT, Block, all_blocks


COMMANDS = [
    pytest.param(block, command, id=f"{block} {' '.join(command[1:3])}")
    for block in all_blocks("bash")
    for command in block.ours()
]
FOREIGN = {"--help", "--version"}
"""Of every command, or of none in particular."""


@pytest.fixture(scope="module")
def known() -> dict[str, argparse.ArgumentParser]:
    """Return the parsers of all commands and scripts, by the words after `hf-prompt` or `python`."""
    benchmarks = {f"scripts/benchmark.py {subject}": parser_of(subject) for subject in MODULES}
    trained = {f"scripts/train_playground.py {name}": parser for name, parser in playground.parsers()[1].items()}
    return parsers() | benchmarks | trained


def words_of(command: list[str], known: dict[str, argparse.ArgumentParser]) -> str:
    """The words that call a command's parser: two, such as "train coop", or one."""
    return " ".join(command[1:3]) if " ".join(command[1:3]) in known else command[1]


def flags_of(parser: argparse.ArgumentParser) -> set[str]:
    return {flag for action in parser._actions for flag in action.option_strings}


@pytest.mark.parametrize(("block", "command"), COMMANDS)
def test_a_documented_command_is_one_that_its_parser_takes(
    block: Block, command: list[str], known: dict[str, argparse.ArgumentParser], capsys: pytest.CaptureFixture
) -> None:
    words = words_of(command, known)
    assert words in known, f"{block}: there is no command {words!r}"
    arguments = command[1 + len(words.split()) :]
    missing = {word for word in arguments if word.startswith("--")} - flags_of(known[words]) - FOREIGN
    assert not missing, f"{block}: {command[0]} {words} has no {', '.join(sorted(missing))}"
    if not any("$" in word or word.endswith(".yaml") for word in arguments):  # in a loop; with flags of a file
        try:
            known[words].parse_args(arguments)
        except SystemExit:
            pytest.fail(f"{block}: {capsys.readouterr().err}", pytrace=False)


def test_flags_named_in_sentences_exist(known: dict[str, argparse.ArgumentParser]) -> None:
    everywhere = FOREIGN.union(*map(flags_of, known.values()))
    wrong = []
    for page in PAGES:
        prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        named = {flag for code in re.findall(r"`([^`]+)`", prose) for flag in re.findall(r"(?<!\S)--\w[\w-]*", code)}
        wrong += [f"{page.relative_to(ROOT)}: {flag}" for flag in sorted(named - everywhere)]
    assert not wrong


def test_every_flag_is_in_the_generated_reference() -> None:
    reference = runpy.run_path(str(ROOT / "docs" / "hooks" / "command_reference.py"))
    page = reference["reference"]()
    trainers = {f"--{no}{name}" for name in reference["TRAINERS"] for no in ("", "no_")}
    sections = dict(re.findall(r"^## hf-prompt ([\w -]+)$(.*?)(?=^## |\Z)", page, flags=re.MULTILINE | re.DOTALL))
    assert set(sections) == set(flags())
    for words, own in flags().items():
        own = {flag for flag in own if flag.startswith("--") and "-" not in flag[2:]} - trainers
        absent = {flag for flag in own if f"`{flag}`" not in sections[words]}
        assert not absent, f"hf-prompt {words}: {absent}"
