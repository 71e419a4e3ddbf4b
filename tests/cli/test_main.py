"""`hf-prompt` itself: help, exit codes, messages for unknown words, and the examples in the help."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from hf_prompt_cli import methods
from hf_prompt_cli.main import COMMANDS, flags, main, parsers
from hf_prompt_cli.parsing import check_flags, did_you_mean
from hf_prompt_models import models


def loaded_after(code: str) -> set[str]:
    """Return the modules that a new process has imported after running some code."""
    command = [sys.executable, "-c", f"import sys; {code}; print('\\n', *sys.modules)"]
    return set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[-1].split())


@pytest.mark.parametrize("line", ["--help", "train --help", "convert --help", "demo --help"])
def test_general_help_loads_no_torch_and_no_transformers(line: str) -> None:
    run = f"from hf_prompt_cli.main import main\ntry: main({line.split()})\nexcept SystemExit: pass"
    loaded = loaded_after(f"exec({run!r})")
    assert "hf_prompt_cli.main" in loaded
    assert not loaded & {"torch", "transformers", "numpy", "hf_prompt_models"}


@pytest.mark.slow
def test_importing_the_package_adds_no_library_that_few_need() -> None:
    before = "import torch; from transformers import AutoConfig, AutoModel, AutoProcessor, CLIPModel"
    added = loaded_after(f"{before}; import hf_prompt_models") - loaded_after(before)
    assert "hf_prompt_models.models.coop.modeling_coop" in added
    assert not {name.partition(".")[0] for name in added} & {
        *("matplotlib", "sklearn", "scipy", "pandas", "datasets", "evaluate", "accelerate", "peft", "gradio", "onnx"),
    }
    assert not {name for name in added if name.startswith(("transformers.trainer", "hf_prompt_models.training"))}


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    for command, what in COMMANDS.items():
        assert re.search(rf"^ +{command} +{what}$", text, re.MULTILINE)
    for code in ("0    success", "1    a problem", "2    an invalid command line", "130  interrupted", "143"):
        assert code in text
    assert main([]) == 2
    assert capsys.readouterr().err == text


def test_an_unknown_word_names_the_nearest_and_is_wrong_usage(capsys: pytest.CaptureFixture) -> None:
    assert main(["predcit"]) == 2
    assert "there is no command 'predcit'. Did you mean predict?" in capsys.readouterr().err
    assert main(["xyzzy"]) == 2
    assert "Run `hf-prompt --help` for the list of commands" in capsys.readouterr().err
    assert main(["benchmark", "coop"]) == 2
    assert "Run `python scripts/benchmark.py` in a checkout" in capsys.readouterr().err
    for argv, said in (
        (["train", "coup"], "there is no method 'coup'. Did you mean coop?"),
        (["train", "coop", "--shot", "4"], "there is no flag --shot. Did you mean --shots?"),
        (["train", "coop", "--lerning_rate=1"], "there is no flag --lerning_rate. Did you mean --learning_rate?"),
        (["evaluate", "run", "--test_dri", "x"], "there is no flag --test_dri. Did you mean --test_dir?"),
        (["predict", "run", "x.png", "--xyzzy"], "Run `hf-prompt predict --help` for the list of flags"),
        (["convert", "copo"], "there is no method 'copo'. Did you mean coop?"),
        (["convert", "coop", "--check", "x"], "there is no flag --check."),
        (["demo", "image"], "there is no demo 'image'. Did you mean images?"),
        (["make_playground", "clip", "x"], "Did you mean clips?"),
        (["make_playground", "images", "x", "--sed", "3"], "Did you mean --seed?"),
        (["report", "runs", "--output", "x"], "Did you mean --output_dir?"),
    ):
        with pytest.raises(SystemExit) as stop:
            main(argv)
        assert stop.value.code == 2, argv
        assert said in capsys.readouterr().err


def test_words_that_are_like_nothing_have_no_nearest() -> None:
    assert did_you_mean("frobnicate", ["coop", "cpt"]) == ""
    assert did_you_mean("fozen", ["coop", "frozen"]) == " Did you mean frozen?"


def test_methods_are_found_without_importing_them() -> None:
    assert methods.packages() == models.PACKAGES
    for part in ("recipe", "convert"):
        assert methods.methods_with(part) == [each for each in methods.methods() if models.has_part(each, part)]


def examples(text: str) -> list[list[str]]:
    """Return the commands in a help text, split like in a shell."""
    joined = re.sub(r" \\\n +", " ", text)
    lines = re.findall(r"^ *(hf-prompt \w.*?)(?:  .*)?$", joined, re.MULTILINE)
    return [shlex.split(line)[1:] for line in lines if "…" not in line]


def commands_in_helps() -> list[list[str]]:
    from hf_prompt_cli import main
    from hf_prompt_cli.commands import convert, make_playground, train

    helps = [main.HELP, *(module.__doc__ or "" for module in (train, convert, make_playground))]
    helps += [parser.description or "" for parser in parsers().values()]
    return [words for text in helps for words in examples(text)]


def test_every_help_has_an_example_and_every_example_has_only_flags_that_exist() -> None:
    known, found = parsers(), set()
    for words in commands_in_helps():
        two, one = " ".join(words[:2]), words[0]
        if one in ("train", "demo") and len(words) == 1:
            continue
        name = two if two in known else one
        assert name in known, words
        check_flags(known[name], words[len(name.split()) :])
        found.add(name)
    taught = {name for name in known if not name.startswith(("make_playground", "convert", "demo"))}
    assert found >= taught


def test_the_flags_of_every_command_are_known() -> None:
    everything = flags()
    assert {"--shots", "--n_ctx", "--n-ctx", "--learning_rate"} <= everything["train coop"]
    assert everything["predict"] >= {"--top_k", "--json", "--frame_strip", "--box"}
    assert {name.split()[0] for name in everything} >= set(COMMANDS) - {"app"}


def test_scripts_are_the_same_functions() -> None:
    scripts = Path(__file__).parents[2] / "scripts"
    for file in set(scripts.glob("*.py")) - {scripts / "benchmark.py", scripts / "train_playground.py"}:
        assert f"from hf_prompt_cli.commands.{file.stem} import main" in file.read_text(encoding="utf-8")
        assert file.stem in COMMANDS
