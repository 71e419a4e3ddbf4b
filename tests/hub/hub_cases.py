"""Interactions between a CoOp checkpoint and a local Hub, run as a program that knows no other Hub.

Each case is a function; the failures are printed as JSON.
"""

import inspect
import json
import sys
import traceback
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import HfApi, ModelCard, hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, RepositoryNotFoundError
from transformers import AutoModelForImageClassification, AutoProcessor, Trainer, TrainingArguments

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.hub.model_card import make_card, write_card
from hf_prompt_models.tasks.classification.card import run_on_card
from hf_prompt_models.training.trainer import PromptTrainer
from tests.hub.test_model_card import results
from tests.stand_ins import openai_clip_vit_base_patch32


NAMES = ["cat", "dog", "the photo"]
API = HfApi()


def is_case(function: Any) -> bool:
    """A case takes the folder that it may write to, and nothing else."""
    return callable(function) and list(inspect.signature(function).parameters) == ["folder"]


def put_up(folder: Path, repo_id: str) -> str:
    API.create_repo(repo_id, exist_ok=True)
    return API.upload_folder(repo_id=repo_id, folder_path=folder).oid


def build(value: float = 0.1, backbone: str | Path = "user/clip") -> CoOpForImageClassification:
    model = CoOpForImageClassification.from_backbone(backbone, NAMES, n_ctx=2)
    torch.nn.init.constant_(model.prompt_learner.context, value)
    return model


def load(repo_id: str, **how: Any) -> CoOpForImageClassification:
    return AutoModelForImageClassification.from_pretrained(repo_id, **how)


def value(model: CoOpForImageClassification) -> float:
    return round(model.prompt_learner.context.mean().item(), 3)


def files(repo_id: str) -> set[str]:
    return set(API.list_repo_files(repo_id))


def read(repo_id: str, file: str = "README.md") -> str:
    return Path(hf_hub_download(repo_id, file)).read_text()


def train(folder: Path, trainer_class: type[Trainer] = PromptTrainer, **arguments: Any) -> Trainer:
    model = build()
    resolution = model.config.clip_config.vision_config.image_size
    rows = [{"pixel_values": torch.randn(3, resolution, resolution), "labels": label} for label in range(3)]
    settings = {"max_steps": 2, "use_cpu": True, "disable_tqdm": True, "report_to": "none", "save_strategy": "no"}
    trainer = trainer_class(
        model=model,
        args=TrainingArguments(output_dir=str(folder), **settings | arguments),
        train_dataset=rows,
        processing_class=model.processor,
    )
    trainer.train()
    return trainer


def a_broken_upload_is_tried_again(folder: Path) -> None:
    """The Hub breaks off the first upload of weights that it sees."""
    build(0.3).push_to_hub("user/broken-off")
    assert value(load("user/broken-off")) == 0.3


def a_private_repository_is_its_owners(folder: Path) -> None:
    build(0.4).push_to_hub("user/private", private=True)
    assert value(load("user/private")) == 0.4
    for loader in (AutoModelForImageClassification, AutoProcessor, CoOpForImageClassification):
        with pytest.raises(OSError, match="private repository"):
            loader.from_pretrained("user/private", token=False, cache_dir=folder / "strangers")
    with pytest.raises(OSError, match="private repository"):
        CoOpForImageClassification.from_pretrained("user/private", token="hf_somebody", cache_dir=folder / "strangers")
    with pytest.raises(RepositoryNotFoundError):
        build(0.4).push_to_hub("user/private", token="hf_somebody")


def nobody_pushes_to_anothers_repository(folder: Path) -> None:
    with pytest.raises(HfHubHTTPError, match="403"):
        build().push_to_hub("somebody/coop")
    with pytest.raises(HfHubHTTPError, match="401"):
        build().push_to_hub("user/nobodys", token=False)
    assert not API.repo_exists("user/nobodys")


def revisions_are_loaded_by_commit_and_by_branch(folder: Path) -> None:
    first = build(0.1).push_to_hub("user/revisions").oid
    build(0.2).push_to_hub("user/revisions")
    build(0.3).push_to_hub("user/revisions", revision="experiment")
    assert value(load("user/revisions")) == 0.2
    assert value(load("user/revisions", revision=first)) == 0.1
    assert value(load("user/revisions", revision="experiment")) == 0.3
    with pytest.raises(OSError, match="not a valid git identifier"):
        load("user/revisions", revision="nowhere")


def a_prompt_finds_its_backbone_after_that_has_changed(folder: Path) -> None:
    before = put_up(folder / "clip", "user/changing")
    model = build(backbone="user/changing")
    assert model.config.base_model_revision == before
    model.push_to_hub("user/on-changing")
    assert json.loads(read("user/on-changing", "config.json"))["base_model_revision"] == before
    after = put_up(folder / "other-clip", "user/changing")
    assert after != before
    loaded = load("user/on-changing")
    assert loaded.config.base_model_revision == before
    weight = "text_model.encoder.layers.0.mlp.fc1.weight"
    assert torch.equal(loaded.clip.get_parameter(weight), model.clip.get_parameter(weight))
    with pytest.raises(ValueError, match="another backbone"):
        load("user/on-changing", base_model_name_or_path="user/changing")  # as it is now


def a_backbone_named_anew_is_not_looked_for_at_the_old_commit(folder: Path) -> None:
    build(0.1).push_to_hub("user/moved")
    mirror = put_up(folder / "clip", "user/mirror")
    for loader in (AutoModelForImageClassification, CoOpForImageClassification):
        loaded = loader.from_pretrained("user/moved", base_model_name_or_path="user/mirror")
        assert loaded.config.base_model_name_or_path == "user/mirror"
        assert loaded.config.base_model_revision == mirror


def a_local_backbone_is_refused_before_anything_is_made(folder: Path) -> None:
    with pytest.raises(ValueError, match="save_backbone=True") as error:
        build(backbone=folder / "clip").push_to_hub("user/refused")
    assert "base_model=" in str(error.value)
    with pytest.raises(RepositoryNotFoundError):
        build(backbone=folder / "clip").push_to_hub("user/refused", base_model="user/not-there")
    assert not API.repo_exists("user/refused")


def pushing_the_other_scope_leaves_nothing_stale(folder: Path) -> None:
    model = build(0.1)
    model.push_to_hub("user/scopes", save_backbone=True, with_shim=True, max_shard_size="50KB")
    assert "hub_shim.py" in files("user/scopes")
    assert len([file for file in files("user/scopes") if file.endswith(".safetensors")]) > 1
    assert load("user/scopes").config.weights_scope == "full"
    model.push_to_hub("user/scopes")
    assert [file for file in files("user/scopes") if file.startswith(("model", "hub"))] == ["model.safetensors"]
    assert load("user/scopes").config.weights_scope == "prompt"


def a_card_that_somebody_wrote_stays(folder: Path) -> None:
    model = build()
    model.processor.push_to_hub("user/cards")  # leaves transformers' own card
    assert "automatically generated" in read("user/cards")
    model.push_to_hub("user/cards", tags=["pets"], license="mit")
    card = ModelCard(read("user/cards"))
    assert card.data.pipeline_tag == "image-classification"
    assert card.data.license == "mit"
    assert {"coop", "pets"} <= set(card.data.tags)
    model.processor.push_to_hub("user/cards")
    assert read("user/cards") == card.content
    own = "---\nlicense: mit\n---\nMy own words.\n"
    API.upload_file(path_or_fileobj=own.encode(), path_in_repo="README.md", repo_id="user/cards")
    model.push_to_hub("user/cards")
    assert read("user/cards") == own


def a_model_loaded_from_a_run_takes_the_runs_card_along(folder: Path) -> None:
    build().save_pretrained(folder / "run")
    own = "---\nlicense: mit\n---\nWhat I found.\n"
    (folder / "run" / "README.md").write_text(own)
    CoOpForImageClassification.from_pretrained(folder / "run").push_to_hub("user/from-run")
    assert read("user/from-run") == own


def what_a_run_measured_is_on_the_card_of_either_scope(folder: Path) -> None:
    model = build()
    model.save_pretrained(folder / "measured")
    run = run_on_card(results(), "image-classification", "1")
    write_card(make_card(model.describe_checkpoint(), run=run), folder / "measured" / "README.md")
    model = CoOpForImageClassification.from_pretrained(folder / "measured")
    for full, relation in ((False, "adapter"), (True, "finetune")):
        model.push_to_hub("user/measured", save_backbone=full)
        card = ModelCard(read("user/measured"))
        assert run.text in card.text
        assert [each.metric_value for each in card.data.eval_results] == [
            each.metric_value for each in run.eval_results
        ]
        assert card.data.model_name == "measured"
        assert card.data.base_model_relation == relation
        assert card.data.base_model == "user/clip"


def the_trainer_pushes_model_processor_and_card_and_no_pickle(folder: Path) -> None:
    trainer = train(folder / "trained", push_to_hub=True, hub_model_id="user/trained", hub_strategy="end")
    commit = trainer.push_to_hub(tags=["pets"])
    assert commit.oid == API.model_info("user/trained").sha
    assert not [file for file in files("user/trained") if file.endswith((".bin", ".pt", ".pth", ".pkl"))]
    card = ModelCard(read("user/trained"))
    assert "# trained" in card.text
    assert card.data.base_model == "user/clip"
    loaded = load("user/trained")
    assert torch.equal(loaded.prompt_learner.context, trainer.model.prompt_learner.context)
    assert type(AutoProcessor.from_pretrained("user/trained")) is type(trainer.model.processor)


def the_trainer_leaves_a_written_card_alone(folder: Path) -> None:
    trainer = train(folder / "described", hub_model_id="user/described")
    own = "---\nlicense: mit\n---\nMy own words.\n"
    (folder / "described" / "README.md").write_text(own)
    trainer.push_to_hub()
    assert read("user/described") == own == (folder / "described" / "README.md").read_text()


def transformers_own_trainer_pushes_what_loads(folder: Path) -> None:
    trainer = train(folder / "plain", Trainer, hub_model_id="user/plain")
    trainer.push_to_hub()
    assert torch.equal(load("user/plain").prompt_learner.context, trainer.model.prompt_learner.context)


CASES = [each for each in list(globals().values()) if getattr(each, "__module__", "") == __name__ and is_case(each)]


def run_all(folder: Path) -> None:
    torch.set_num_threads(1)
    openai_clip_vit_base_patch32(folder / "clip")
    openai_clip_vit_base_patch32(folder / "other-clip", seed=1)
    put_up(folder / "clip", "user/clip")
    failures = {}
    for case in CASES:
        try:
            case(folder)
            failures[case.__name__] = None
        except (Exception, pytest.fail.Exception):
            failures[case.__name__] = traceback.format_exc()
    print(json.dumps(failures))


if __name__ == "__main__":
    run_all(Path(sys.argv[1]))
