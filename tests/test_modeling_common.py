"""Every registered method through the same checks. A new folder under `models/` is found by itself."""

import hashlib
import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedModel,
    ProcessorMixin,
    Trainer,
    TrainingArguments,
    pipeline,
)

from hf_prompt_models.models import METHODS
from tests.programs import run_program
from tests.tested_method import MethodUnderTest, find_methods


ROOT = Path(__file__).parent.parent
SCOPES = ("prompt", "full")


# -- a method's places -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", METHODS)
def test_a_method_has_its_mirror_and_its_card(name: str) -> None:
    assert (ROOT / "tests" / "models" / name / "tested_method.py").is_file()
    assert (ROOT / "model_cards" / f"{name}.md").is_file()


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_found_by_its_model_type(name: str) -> None:
    module = import_module(f"hf_prompt_models.models.{name}")
    configs = [getattr(module, public) for public in module.__all__ if public.endswith("Config")]
    for config in configs:
        assert type(AutoConfig.for_model(config.model_type)) is config
    assert any(config.model_type.startswith(name) for config in configs)  # a folder may bring a backbone's, too


TESTED = find_methods()
FORMS = [name if name in METHODS else pytest.param(name, marks=pytest.mark.variant) for name in TESTED]


@pytest.fixture(scope="module", params=FORMS)
def method(request: pytest.FixtureRequest) -> MethodUnderTest:
    return TESTED[request.param]


@pytest.fixture(scope="module")
def learning(method: MethodUnderTest) -> MethodUnderTest:
    if not method.learned:
        pytest.skip("nothing is learned")
    return method


@pytest.fixture(scope="module")
def backbone(method: MethodUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return method.write_backbone(tmp_path_factory.mktemp("hub") / "backbone")


@pytest.fixture(scope="module")
def built(method: MethodUnderTest, backbone: Path) -> PreTrainedModel:
    """For tests that do not change it."""
    return method.build(backbone)


@pytest.fixture(scope="module")
def batch(method: MethodUnderTest, built: PreTrainedModel) -> dict[str, torch.Tensor]:
    return method.batch(built, 4)


@pytest.fixture(scope="module")
def folders(built: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A saved checkpoint of each scope."""
    saved = {scope: tmp_path_factory.mktemp("saved") / scope for scope in SCOPES}
    for scope, folder in saved.items():
        built.save_pretrained(folder, save_backbone=scope == "full")
    return saved


@torch.no_grad()
def logits(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch)[TESTED[type(model)._method()].logits_name]


def trainable(model: PreTrainedModel) -> set[str]:
    return {name for name, parameter in model.named_parameters() if parameter.requires_grad}


def digest(model: PreTrainedModel) -> str:
    """Of the backbone's bytes."""
    total = hashlib.sha256()
    for name, tensor in sorted(model.backbone.state_dict().items()):
        total.update(name.encode() + tensor.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def weights(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if file.suffix in (".safetensors", ".bin", ".pt")}


# -- saving and loading ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("loader", ["own class", "Auto class"])
def test_a_saved_model_loads_to_equal_logits(
    loader: str, scope: str, method: MethodUnderTest, built: PreTrainedModel, batch: dict, folders: dict[str, Path]
) -> None:
    loading_class = type(built) if loader == "own class" else method.auto_class
    loaded = loading_class.from_pretrained(folders[scope])
    assert type(loaded) is type(built)
    assert loaded.config.weights_scope == scope
    assert not loaded.training
    assert torch.equal(logits(loaded, batch), logits(built, batch))


def test_a_prompt_checkpoint_holds_the_learned_tensors_alone(
    method: MethodUnderTest, built: PreTrainedModel, folders: dict[str, Path]
) -> None:
    folder = folders["prompt"]
    assert not (folder / "adapter_config.json").exists()  # PEFT would claim it
    if not method.learned:
        assert weights(folder) == set()
        return
    assert weights(folder) == {"model.safetensors"}
    with safe_open(folder / "model.safetensors", "pt") as file:
        names = set(file.keys())
    assert names == method.learned | method.kept
    nbytes = sum(built.state_dict()[name].nbytes for name in names)
    assert (folder / "model.safetensors").stat().st_size < nbytes + 1_000 + 200 * len(names)


def test_a_full_checkpoint_holds_the_backbone_too(built: PreTrainedModel, folders: dict[str, Path]) -> None:
    tensors = built.state_dict()
    with safe_open(folders["full"] / "model.safetensors", "pt") as file:
        written = set(file.keys())
    assert written <= set(tensors)
    # Names that share their memory are written once.
    assert {tensors[name].data_ptr() for name in written} == {tensor.data_ptr() for tensor in tensors.values()}


def test_a_full_checkpoint_needs_no_backbone_folder(method: MethodUnderTest, batch: dict, tmp_path: Path) -> None:
    backbone = method.write_backbone(tmp_path / "backbone")
    model = method.build(backbone)
    expected = logits(model, batch)
    model.save_pretrained(tmp_path / "saved", save_backbone=True)
    shutil.rmtree(backbone)
    loaded = method.auto_class.from_pretrained(tmp_path / "saved")
    assert torch.equal(logits(loaded, batch), expected)
    method.check_pipeline(pipeline(method.pipeline_task, model=str(tmp_path / "saved")), model)
    loaded.save_pretrained(tmp_path / "again")  # keeps the scope it came with
    assert torch.equal(logits(method.auto_class.from_pretrained(tmp_path / "again"), batch), expected)


def test_a_prompt_checkpoint_without_its_backbone_says_where_it_was(method: MethodUnderTest, tmp_path: Path) -> None:
    backbone = method.write_backbone(tmp_path / "backbone")
    method.build(backbone).save_pretrained(tmp_path / "saved")
    shutil.rmtree(backbone)
    with pytest.raises(OSError, match="base_model_name_or_path=") as error:
        method.auto_class.from_pretrained(tmp_path / "saved")
    assert str(backbone) in str(error.value)
    assert "save_backbone=True" in str(error.value)


# The Auto classes give the value to the configuration before we see it, and that takes a string.
@pytest.mark.parametrize(("kind", "form"), [("own class", str), ("own class", Path), ("Auto class", str)])
def test_a_moved_backbone_is_found_where_the_user_says(
    form: type, kind: str, method: MethodUnderTest, built: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    backbone = method.write_backbone(tmp_path / "backbone")
    method.build(backbone).save_pretrained(tmp_path / "saved")
    moved = backbone.rename(tmp_path / "moved")
    loading_class = type(built) if kind == "own class" else method.auto_class
    loaded = loading_class.from_pretrained(tmp_path / "saved", base_model_name_or_path=form(moved))
    assert logits(loaded, batch).shape == logits(built, batch).shape
    loaded.save_pretrained(tmp_path / "saved-again")
    config = json.loads((tmp_path / "saved-again" / "config.json").read_text())
    assert config["base_model_name_or_path"] == str(moved)


def test_a_backbone_moved_to_a_relative_path_is_written_down_as_absolute(
    method: MethodUnderTest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backbone = method.write_backbone(tmp_path / "backbone")
    method.build(backbone).save_pretrained(tmp_path / "saved")
    moved = backbone.rename(tmp_path / "moved")
    monkeypatch.chdir(tmp_path)
    loaded = method.auto_class.from_pretrained("saved", base_model_name_or_path="moved")
    loaded.save_pretrained("saved-again")
    config = json.loads((tmp_path / "saved-again" / "config.json").read_text())
    assert config["base_model_name_or_path"] == str(moved)
    with pytest.raises(ValueError, match="base_model="):
        loaded.push_to_hub("user/repository")


FRESH_PROCESS = """
import sys
import hf_prompt_models
from safetensors.torch import load_file, save_file
from transformers import {auto_classes}
for auto_class, folder, logits in {jobs}:
    model = globals()[auto_class].from_pretrained(folder)
    save_file({{"logits": model(**load_file(folder + "/batch.safetensors"))[logits]}}, folder + "/answer.safetensors")
"""


def test_checkpoints_load_in_a_fresh_process_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All methods in one process, for starting one takes seconds; the backbone was named by a relative path."""
    jobs, expected = [], {}
    monkeypatch.chdir(tmp_path)
    for name in filter(TESTED.get, METHODS):
        method = TESTED[name]
        method.write_backbone(tmp_path / f"backbone-{name}")
        model = method.build(Path(f"backbone-{name}"))
        for scope in SCOPES:
            folder = tmp_path / f"{name}-{scope}"
            model.save_pretrained(folder.name, save_backbone=scope == "full")
            inputs = method.batch(model, 2)
            save_file(inputs, folder / "batch.safetensors")
            expected[folder] = logits(model, inputs)
            jobs.append((method.auto_class.__name__, str(folder), method.logits_name))
    script = FRESH_PROCESS.format(auto_classes=", ".join(sorted({job[0] for job in jobs})), jobs=jobs)
    (tmp_path / "elsewhere").mkdir()
    done = run_program([sys.executable, "-W", "error", "-c", script], cwd=tmp_path / "elsewhere")
    assert done.returncode == 0, done.stderr
    assert "[transformers]" not in done.stderr
    for folder, answer in expected.items():
        assert torch.equal(load_file(folder / "answer.safetensors")["logits"], answer), folder.name


@pytest.mark.parametrize("scope", SCOPES)
def test_the_folder_is_complete_for_the_pipeline(
    scope: str, method: MethodUnderTest, built: PreTrainedModel, folders: dict[str, Path]
) -> None:
    processor = AutoProcessor.from_pretrained(folders[scope])
    assert type(processor) is type(built.processor)
    assert processor.image_processor.to_dict() == built.processor.image_processor.to_dict()
    assert processor.tokenizer("a cat.").input_ids == built.processor.tokenizer("a cat.").input_ids
    assert AutoImageProcessor.from_pretrained(folders[scope]) is not None
    assert AutoTokenizer.from_pretrained(folders[scope])("cat").input_ids == processor.tokenizer("cat").input_ids
    method.check_pipeline(pipeline(method.pipeline_task, model=str(folders[scope])), built)


def test_a_loaded_model_can_be_saved_again_with_its_processor(
    method: MethodUnderTest, built: PreTrainedModel, batch: dict, folders: dict[str, Path], tmp_path: Path
) -> None:
    method.auto_class.from_pretrained(folders["prompt"]).save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in folders["prompt"].iterdir()}
    assert torch.equal(logits(method.auto_class.from_pretrained(tmp_path), batch), logits(built, batch))


def test_saving_over_a_checkpoint_of_the_other_scope_leaves_nothing_stale(
    method: MethodUnderTest, built: PreTrainedModel, batch: dict, folders: dict[str, Path], tmp_path: Path
) -> None:
    built.save_pretrained(tmp_path, save_backbone=True, max_shard_size="50KB")
    assert len(weights(tmp_path)) > 1
    assert torch.equal(logits(method.auto_class.from_pretrained(tmp_path), batch), logits(built, batch))
    built.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {file.name for file in folders["prompt"].iterdir()}
    assert torch.equal(logits(method.auto_class.from_pretrained(tmp_path), batch), logits(built, batch))
    assert built.config.weights_scope == "prompt"


def test_a_save_that_fails_leaves_the_earlier_checkpoint_whole(
    method: MethodUnderTest, backbone: Path, batch: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = method.build(backbone)
    model.save_pretrained(tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}

    def fail(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(type(model.processor), "save_pretrained", fail)
    with pytest.raises(OSError, match="No space left"):
        model.save_pretrained(tmp_path, save_backbone=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before
    assert model.config.weights_scope == "prompt"


def test_a_push_that_names_a_local_backbone_is_refused_with_the_way_out(built: PreTrainedModel) -> None:
    with pytest.raises(ValueError, match="base_model=") as error:
        built.push_to_hub("user/repository")
    assert "save_backbone=True" in str(error.value)


def test_bf16_loads_with_the_prompt_in_fp32_and_close_logits(
    method: MethodUnderTest, built: PreTrainedModel, batch: dict, folders: dict[str, Path]
) -> None:
    expected = logits(built, batch)
    for scope in SCOPES:
        loaded = method.auto_class.from_pretrained(folders[scope], dtype=torch.bfloat16)
        assert loaded.backbone.dtype == torch.bfloat16
        parameters = dict(loaded.named_parameters())
        for name in method.learned:
            assert parameters[name].dtype == torch.float32
            assert torch.equal(parameters[name], dict(built.named_parameters())[name])
        # bf16 keeps 8 bits: cosines differ by about 1 %, at most 2 of logits within ±100.
        torch.testing.assert_close(logits(loaded, batch).float(), expected, rtol=0, atol=3.0)


@pytest.mark.parametrize("scope", SCOPES)
def test_attention_and_device_choices_reach_the_backbone(
    scope: str, method: MethodUnderTest, built: PreTrainedModel, batch: dict, folders: dict[str, Path]
) -> None:
    loaded = method.auto_class.from_pretrained(folders[scope], attn_implementation="eager", device_map="cpu")
    assert {
        module.config._attn_implementation for module in loaded.backbone.modules() if hasattr(module, "config")
    } == {"eager"}
    torch.testing.assert_close(logits(loaded, batch), logits(built, batch), rtol=0, atol=1e-4)


# -- frozen means frozen ---------------------------------------------------------------------------------------------


def test_exactly_the_learned_parameters_are_trainable(
    method: MethodUnderTest, built: PreTrainedModel, folders: dict[str, Path]
) -> None:
    assert trainable(built) == method.learned
    assert trainable(type(built)(built.config)) == method.learned
    for scope in SCOPES:
        assert trainable(method.auto_class.from_pretrained(folders[scope])) == method.learned


def test_a_frozen_backbone_stays_in_eval_mode(method: MethodUnderTest, folders: dict[str, Path]) -> None:
    for scope in SCOPES:
        model = method.auto_class.from_pretrained(folders[scope])
        model.train()
        assert model.training
        assert not any(module.training for module in model.backbone.modules())
        model.eval()
        assert not any(module.training for module in model.modules())


def test_gradients_reach_the_learned_parameters_alone(
    learning: MethodUnderTest, folders: dict[str, Path], batch: dict
) -> None:
    model = learning.auto_class.from_pretrained(folders["prompt"]).train()
    model(**batch).loss.backward()
    assert {name for name, parameter in model.named_parameters() if parameter.grad is not None} == learning.learned


def test_outputs_do_not_depend_on_the_rest_of_the_batch(built: PreTrainedModel, batch: dict) -> None:
    together = logits(built, batch)
    for index in range(len(together)):
        alone = logits(built, {name: tensor[index : index + 1] for name, tensor in batch.items()})
        torch.testing.assert_close(alone[0], together[index], rtol=0, atol=1e-4)


# -- under the Trainer -----------------------------------------------------------------------------------------------


def train(
    method: MethodUnderTest,
    model: PreTrainedModel,
    folder: Path,
    resume: Path | None = None,
    processing_class: ProcessorMixin | None = None,
    **arguments: Any,
) -> Trainer:
    examples = method.batch(model, 8)
    dataset = [{name: tensor[index] for name, tensor in examples.items()} for index in range(8)]
    arguments = {"max_steps": 4, "save_steps": 2, "learning_rate": 0.05, "optim": "sgd", **arguments}
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(folder),
            per_device_train_batch_size=2,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            **arguments,
        ),
        train_dataset=dataset,
        eval_dataset=dataset,
        processing_class=processing_class,
    )
    trainer.train(resume_from_checkpoint=None if resume is None else str(resume))
    return trainer


@pytest.mark.parametrize("scope", SCOPES)
def test_training_changes_what_is_learned_and_no_byte_of_the_backbone(
    scope: str, learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = learning.auto_class.from_pretrained(folders[scope])
    backbone = digest(model)
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    train(learning, model, tmp_path)
    assert digest(model) == backbone
    changed = {name for name, parameter in model.named_parameters() if not torch.equal(parameter, before[name])}
    assert changed == learning.learned
    # A checkpoint of the Trainer is a checkpoint like any other.
    model.eval()
    inputs = learning.batch(model, 3)
    loaded = learning.auto_class.from_pretrained(tmp_path / "checkpoint-4")
    assert loaded.config.weights_scope == scope
    assert torch.equal(logits(loaded, inputs), logits(model, inputs))
    learning.check_pipeline(pipeline(learning.pipeline_task, model=str(tmp_path / "checkpoint-4")), model)


def test_the_trainer_takes_the_processor_without_a_word(
    learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    """It compares the tokenizer's special tokens with the configuration's and warns where they differ."""
    model = learning.auto_class.from_pretrained(folders["prompt"])
    processor = AutoProcessor.from_pretrained(folders["prompt"])
    text_config = model.backbone.config.get_text_config().to_dict()
    train(learning, model, tmp_path, processing_class=processor, max_steps=1)
    assert model.backbone.config.get_text_config().to_dict() == text_config


@pytest.mark.parametrize("scope", SCOPES)
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    scope: str, learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    whole = learning.auto_class.from_pretrained(folders[scope])
    train(learning, whole, tmp_path)
    resumed = learning.auto_class.from_pretrained(folders[scope])
    train(learning, resumed, tmp_path, resume=tmp_path / "checkpoint-2")
    for name in learning.learned:
        torch.testing.assert_close(resumed.get_parameter(name), whole.get_parameter(name), rtol=1e-6, atol=1e-7)


def test_the_best_checkpoint_is_loaded_at_the_end(
    learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path
) -> None:
    model = learning.auto_class.from_pretrained(folders["prompt"])
    best = {"load_best_model_at_end": True, "eval_strategy": "steps", "eval_steps": 2, "learning_rate": 10.0}
    trainer = train(learning, model, tmp_path, **best)
    saved = load_file(Path(trainer.state.best_model_checkpoint) / "model.safetensors")
    for name in learning.learned:
        assert torch.equal(model.get_parameter(name), saved[name])


def test_it_trains_under_bf16_autocast(learning: MethodUnderTest, folders: dict[str, Path], tmp_path: Path) -> None:
    model = learning.auto_class.from_pretrained(folders["prompt"])
    before = {name: model.get_parameter(name).detach().clone() for name in learning.learned}
    train(learning, model, tmp_path, bf16=True, max_steps=1)
    for name in learning.learned:
        parameter = model.get_parameter(name)
        assert parameter.dtype == torch.float32
        assert parameter.isfinite().all()
        assert not torch.equal(parameter, before[name])


# -- nothing learned -------------------------------------------------------------------------------------------------


def test_where_nothing_is_learned_a_stale_weights_file_goes(
    method: MethodUnderTest, built: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    if method.learned:
        pytest.skip("something is learned")
    save_file({"stale": torch.zeros(1)}, tmp_path / "model.safetensors")
    built.save_pretrained(tmp_path)
    assert weights(tmp_path) == set()
    assert torch.equal(logits(method.auto_class.from_pretrained(tmp_path), batch), logits(built, batch))
