"""Publishing and loading through a local Hub, in processes that know no other Hub."""

import ast
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from huggingface_hub import ModelCard

import hf_prompt_models
from hf_prompt_models.models import PACKAGES
from tests.local_hub import ROOT, TOKEN, LocalHub, Repository, serve
from tests.pictures import write_pictures
from tests.programs import run_program
from tests.stand_ins import openai_clip_vit_base_patch32
from tests.stand_ins_language import gpt2, resnet_152
from tests.tested_method import REPRESENTATIVES, find_methods


WARNINGS = ("-W", "error", "-W", "ignore:Use 'content=")  # of httpx, about how huggingface_hub uploads large files
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".ckpt", ".msgpack", ".h5")
HUB_CASES = [
    node.name
    for node in ast.parse((Path(__file__).parent / "hub_cases.py").read_text()).body
    if isinstance(node, ast.FunctionDef)
    and [argument.arg for argument in node.args.args] == ["folder"]
    and node.name != "run_all"
]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(REPRESENTATIVES, id="a few methods"),
        pytest.param(tuple(PACKAGES), id="all methods", marks=pytest.mark.slow),
    ],
)
def methods(request: pytest.FixtureRequest) -> tuple[str, ...]:
    return request.param


@pytest.fixture(scope="module")
def local_hub(methods: tuple[str, ...]) -> Iterator[LocalHub]:
    with serve() as hub:
        yield hub


def run(hub: LocalHub, home: Path, *command: str, token: str | None = TOKEN) -> subprocess.CompletedProcess[str]:
    """A Python program in a folder that is its home, too; it must end well."""
    done = run_program([sys.executable, *WARNINGS, *command], env=hub.environment(home, token), cwd=home)
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture(scope="module")
def published(local_hub: LocalHub, methods: tuple[str, ...], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of models of the methods, whose repositories are on the Hub and whose local folders are removed."""
    folder = tmp_path_factory.mktemp("published")
    run(local_hub, folder, "-m", "tests.hub.push_methods", str(folder), *methods)
    expected = tmp_path_factory.mktemp("expected") / "outputs"
    shutil.move(folder / "expected", expected)
    shutil.rmtree(folder)
    return expected


def repositories(hub: LocalHub) -> dict[str, Repository]:
    """Those of models, by what follows the owner."""
    pushed = {name.removeprefix("user/"): repository for name, repository in hub.repositories.items()}
    return {name: each for name, each in pushed.items() if name.endswith(("-prompt", "-full", "-folder"))}


@pytest.mark.slow
def test_strangers_load_methods_in_both_scopes_to_equal_outputs(
    published: Path, methods: tuple[str, ...], local_hub: LocalHub, tmp_path: Path
) -> None:
    """In a fresh process with an empty cache and no token, the backbones on the Hub, too."""
    pushed = {each.name for each in published.iterdir()}
    assert pushed >= {f"{method}-full" for method in methods}
    assert pushed >= {f"{method}-prompt" for method in methods if method in find_methods()}
    run(local_hub, tmp_path, "-m", "tests.hub.pull_methods", str(published), token=None)


def test_repositories_hold_no_pickle_no_code_and_no_path_of_this_machine(published: Path, local_hub: LocalHub) -> None:
    for name, repository in repositories(local_hub).items():
        assert not [path for path in repository.files if path.endswith((*PICKLES, ".py"))], name
        for path, data in repository.files.items():
            assert str(published.parent).encode() not in data, (name, path)


def test_a_coop_prompt_is_small(published: Path, local_hub: LocalHub) -> None:
    files = local_hub.repositories["user/coop-prompt"].files
    assert sum(len(data) for path, data in files.items() if path.endswith(".safetensors")) < 100_000


def test_the_backbones_commit_is_recorded(published: Path, local_hub: LocalHub) -> None:
    for name, repository in repositories(local_hub).items():
        if name == "alpro-full":
            continue
        config = json.loads(repository.files["config.json"])
        backbone = f"user/backbone-{name.rpartition('-')[0]}"
        assert config["base_model_name_or_path"] == backbone, name
        assert config["base_model_revision"] == local_hub.repositories[backbone].branches["main"], name


def test_cards_say_what_is_in_the_repository(published: Path, local_hub: LocalHub) -> None:
    for name, repository in repositories(local_hub).items():
        text = repository.files["README.md"].decode()
        card = ModelCard(text)
        data = yaml.safe_load(text.split("---\n")[1])
        method, _, kind = name.rpartition("-")
        config = json.loads(repository.files["config.json"])
        model_class = getattr(hf_prompt_models, config["architectures"][0])
        assert data["library_name"] == "transformers"
        assert data["pipeline_tag"] == model_class.pipeline_task
        assert method in data["tags"]
        assert data["license"] == ("other" if kind == "full" else "apache-2.0")
        if method != "alpro":
            assert data["base_model"] == f"user/backbone-{method}"
            assert data["base_model_relation"] == ("finetune" if kind == "full" else "adapter")
            assert config["base_model_revision"] in card.text
        for title in ("## This checkpoint", "## Use", "## Limits", "## Citation", "## License"):
            assert title in card.text, (name, title)
        assert "user/repository" not in card.text
        assert f'"user/{name}"' in card.text
        assert "arxiv.org/abs/" in card.text


# -- cases -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What went wrong in each case; all of them in one process, for starting one takes seconds."""
    home = tmp_path_factory.mktemp("cases")
    with serve() as hub:
        hub.failures = 1
        done = run(hub, home, "-m", "tests.hub.hub_cases", str(home))
        assert hub.failures == 0
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize("case", HUB_CASES)
def test_hub(case: str, cases: dict[str, str | None]) -> None:
    assert cases[case] is None, cases[case]


# -- from the command line -------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_training_run_publishes_each_seeds_model(tmp_path: Path) -> None:
    openai_clip_vit_base_patch32(tmp_path / "clip")
    for split in ("train", "test"):
        write_pictures(tmp_path / "pets" / split, {"cat": 3, "dog": 3})
    with serve() as hub:
        clip = {path.name: path.read_bytes() for path in (tmp_path / "clip").iterdir()}
        hub.repositories["user/clip"] = Repository()
        commit = hub.repositories["user/clip"].commit("main", clip)
        flags = {
            "--backbone": "user/clip",
            "--train_dir": tmp_path / "pets" / "train",
            "--test_dir": tmp_path / "pets" / "test",
            "--shots": 2,
            "--n_ctx": 2,
            "--num_train_epochs": 1,
            "--output_dir": tmp_path / "run",
            "--push_to_hub": "true",
            "--hub_model_id": "user/pets",
            "--disable_tqdm": "true",
        }
        command = [ROOT / "scripts" / "train.py", "coop", *(part for flag in flags.items() for part in flag)]
        run(hub, tmp_path, *map(str, command), "--seeds", "1", "2")
        results = json.loads((tmp_path / "run" / "results.json").read_text())
        for seed in ("1", "2"):
            files = hub.repositories[f"user/pets-seed-{seed}"].files
            assert not [path for path in files if path.endswith((*PICKLES, ".py"))]
            assert files["model.safetensors"] == (tmp_path / f"run/seed-{seed}/model.safetensors").read_bytes()
            config = json.loads(files["config.json"])
            assert (config["base_model_name_or_path"], config["base_model_revision"]) == ("user/clip", commit)
            card = ModelCard(files["README.md"].decode())
            assert card.data.base_model == "user/clip"
            own = next(each for each in card.data.eval_results if each.metric_type == "accuracy")
            assert own.metric_value == round(results["seeds"][seed]["accuracy"], 4)
            assert f'"user/pets-seed-{seed}"' in card.text
            for each in ("1", "2"):  # of the later seed, too
                assert f"| seed {each}{' (this checkpoint)' if each == seed else ''} | " in card.text
            assert "mean ± standard deviation" in card.text
            for path, content in files.items():
                assert str(tmp_path).encode() not in content, path


def put_up(hub: LocalHub, folder: Path, repo_id: str) -> None:
    hub.repositories[repo_id] = Repository()
    hub.repositories[repo_id].commit("main", {path.name: path.read_bytes() for path in folder.iterdir()})


MERGED = """
import sys
from transformers import AutoModelForImageTextToText
import hf_prompt_models

model = AutoModelForImageTextToText.from_pretrained(sys.argv[1])
model.save_pretrained(sys.argv[2])
if len(sys.argv) > 3:
    model.push_to_hub(sys.argv[3])
"""


@pytest.mark.slow
def test_updates_of_a_language_model_are_published_next_to_what_was_trained(tmp_path: Path) -> None:
    pytest.importorskip("peft")
    gpt2(tmp_path / "gpt2")
    resnet_152(tmp_path / "resnet")
    write_pictures(tmp_path / "pictures", {"red": 3, "blue": 3})
    pictures = sorted((tmp_path / "pictures").rglob("*.*"))
    rows = [
        {"id": n, "image": str(path.relative_to(tmp_path)), "title": "a mug", "description": path.parent.name}
        for n, path in enumerate(pictures)
    ]
    (tmp_path / "mugs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with serve() as hub:
        put_up(hub, tmp_path / "gpt2", "user/gpt2")
        put_up(hub, tmp_path / "resnet", "user/resnet")
        flags = {
            "--language_model": "user/gpt2",
            "--vision_model": "user/resnet",
            "--train_file": tmp_path / "mugs.jsonl",
            "--test_file": tmp_path / "mugs.jsonl",
            "--validation_fraction": 0,
            "--lora_r": 2,
            "--max_steps": 4,
            "--learning_rate": 0.05,
            "--max_new_tokens": 4,
            "--output_dir": tmp_path / "run",
            "--allow_shared_files": "true",
            "--push_to_hub": "true",
            "--hub_model_id": "mugs",  # of whoever is logged in
            "--disable_tqdm": "true",
        }
        command = [ROOT / "scripts" / "train.py", "mantis", *(part for flag in flags.items() for part in flag)]
        known = ("-W", "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # peft's
        run(hub, tmp_path, *known, *map(str, command), "--seeds", "1", "2")
        trained = tmp_path / "run" / "seed-1"
        run(hub, tmp_path, *known, "-c", MERGED, str(trained), str(trained / "whole"))
        repository = hub.repositories["user/mugs-seed-1"]
        assert {path for path in repository.files if "adapter" in path} == {
            "lora/adapter_config.json",
            "lora/adapter_model.safetensors",
        }
        assert not [path for path in repository.files if path.endswith((*PICKLES, ".py"))]
        assert not [path for path, data in repository.files.items() if str(tmp_path).encode() in data]
        assert repository.files["model.safetensors"] == (trained / "model.safetensors").read_bytes()
        updates, config = ((trained / name).read_bytes() for name in ("adapter_model.safetensors", "config.json"))
        assert repository.files["lora/adapter_model.safetensors"] == updates
        card = ModelCard(repository.files["README.md"].decode())
        assert (card.data.base_model, card.data.base_model_relation) == ("user/gpt2", "adapter")
        assert "(LoRA)" in card.text
        assert "- **LoRA**: `r=2, alpha=4, " in card.text
        assert "| seed 2 | " in card.text
        assert json.loads(config)["weights_scope"] == "prompt"

        home = tmp_path / "stranger"
        home.mkdir()
        pull = (*known, "-m", "tests.hub.pull_writer", "user/mugs-seed-1", str(trained))
        run(hub, home, *pull, token=None)

        # The complete model has no adapter that would be added to its weights again.
        run(hub, tmp_path, *known, "-c", MERGED, str(trained), str(trained / "whole"), "user/mugs-seed-1")
        assert not [path for path in repository.files if "adapter" in path]
        assert json.loads(repository.files["config.json"])["weights_scope"] == "full"
        run(hub, home, *pull, token=None)
