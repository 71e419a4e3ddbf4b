"""Common checks of every registered method: its classes, and what is saved, loaded and published.

A new folder under `models/` is found automatically. `test_modeling_common_training.py` has the checks of training.
"""

import inspect
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
    AutoModel,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
    pipeline,
)

from hf_prompt_models.models import PACKAGES
from tests.modeling_common import (
    SCOPES,
    TESTED,
    backbone,
    batch,
    built,
    folders,
    logits,
    method,
    weights,
)
from tests.programs import run_program
from tests.tested_method import MethodUnderTest


ROOT = Path(__file__).parent.parent


# -- a method's places -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", [name for name, package in PACKAGES.items() if package.startswith("hf_prompt_models.")]
)
def test_a_method_has_its_mirror_and_its_card(name: str) -> None:
    assert (ROOT / "tests" / "models" / name / "tested_method.py").is_file()
    assert (ROOT / "model_cards" / f"{name}.md").is_file()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_method_is_found_by_its_model_type(name: str) -> None:
    module = import_module(PACKAGES[name])
    configs = [getattr(module, public) for public in module.__all__ if public.endswith("Config")]
    for config in configs:
        assert type(AutoConfig.for_model(config.model_type)) is config
    assert any(config.model_type.startswith(name) for config in configs)  # a folder may bring a backbone's, too


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


def test_a_prompt_checkpoint_without_its_backbone_reports_where_it_was(
    method: MethodUnderTest, tmp_path: Path
) -> None:
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


def test_a_backbone_moved_to_a_relative_path_is_recorded_as_absolute(
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
    for name in filter(TESTED.get, PACKAGES):
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


def attentions(model: PreTrainedModel) -> dict[str, str]:
    """How each part computes attention, by its name."""
    configs = {name: module.config for name, module in model.named_modules() if hasattr(module, "config")}
    return {
        name: config._attn_implementation for name, config in configs.items() if isinstance(config, PreTrainedConfig)
    }


@pytest.mark.parametrize("scope", SCOPES)
def test_the_choice_of_attention_reaches_every_part(
    scope: str, method: MethodUnderTest, built: PreTrainedModel, backbone: Path, batch: dict, folders: dict[str, Path]
) -> None:
    by_name = dict.fromkeys(("", *type(built.config).sub_configs), "eager")
    for loading_class in (method.auto_class, type(built)):
        for choice in ("eager", by_name):
            loaded = loading_class.from_pretrained(folders[scope], attn_implementation=choice, device_map="cpu")
            assert set(attentions(loaded).values()) == {"eager"}
            torch.testing.assert_close(logits(loaded, batch), logits(built, batch), rtol=0, atol=1e-4)
    new = method.build(backbone, attn_implementation="eager")
    assert set(attentions(new).values()) == {"eager"}


def test_attention_can_be_chosen_for_one_part_and_changed_later(
    method: MethodUnderTest,
    built: PreTrainedModel,
    batch: dict,
    folders: dict[str, Path],
    transformers_records: list[str],
) -> None:
    part = built.backbone_config_name()
    for scope in SCOPES:
        loaded = method.auto_class.from_pretrained(folders[scope], attn_implementation={part: "eager"})
        assert getattr(loaded.config, part)._attn_implementation == "eager"
        assert loaded.config._attn_implementation == built.config._attn_implementation
    loaded.set_attn_implementation("eager")
    transformers_records.clear()  # ViLT supports only one attention implementation and logs a warning
    assert set(attentions(loaded).values()) == {"eager"}
    torch.testing.assert_close(logits(loaded, batch), logits(built, batch), rtol=0, atol=1e-4)


# Test the GPU as well, if there is one: the learned parameters must be on the device of the backbone.
PLACES = ["cpu", *(["cuda:0"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("form", ["name", "map"])
def test_a_model_is_wholly_where_device_map_says(
    form: str,
    place: str,
    method: MethodUnderTest,
    built: PreTrainedModel,
    backbone: Path,
    batch: dict,
    folders: dict[str, Path],
) -> None:
    device_map = place if form == "name" else {"": place}
    loaded = [method.auto_class.from_pretrained(folders[scope], device_map=device_map) for scope in SCOPES]
    inputs = {name: tensor.to(place) for name, tensor in batch.items()}
    new = method.build(backbone, device_map=device_map)
    new.load_state_dict(built.state_dict())  # because learned parameters are initialised randomly
    for model in (*loaded, new):
        assert {str(tensor.device) for tensor in model.state_dict().values()} == {place}
        torch.testing.assert_close(logits(model, inputs).cpu(), logits(built, batch), rtol=0, atol=1e-3)


def test_the_learned_parts_go_where_the_backbone_is(method: MethodUnderTest, folders: dict[str, Path]) -> None:
    """The meta device stands for a GPU here; the fingerprint is left out, for there are no values to compare."""
    model = method.auto_class.from_pretrained(folders["prompt"], device_map="meta", base_model_fingerprint=None)
    assert {tensor.device.type for tensor in model.state_dict().values()} == {"meta"}


def test_an_example_alone_has_the_outputs_that_it_has_in_a_batch(
    method: MethodUnderTest, built: PreTrainedModel
) -> None:
    """Images, videos, texts and regions of different sizes and numbers, so that some are padded in the batch."""
    together, turned = method.answers(built, [0, 1, 2, 3]), method.answers(built, [2, 0])
    assert len(together) == 4
    for number, expected in enumerate(together):
        (alone,) = method.answers(built, [number])
        torch.testing.assert_close(alone, expected, rtol=0, atol=1e-4)
        assert alone.isfinite().all()
    torch.testing.assert_close(turned, [together[2], together[0]], rtol=0, atol=1e-4)


# -- what any model of transformers does -----------------------------------------------------------------------------


def feature_calls(model: PreTrainedModel, batch: dict[str, torch.Tensor]) -> dict[str, dict[str, torch.Tensor]]:
    """Arguments for the model itself, and for each `get_..._features` that it has, by name."""
    inputs = {name: tensor for name, tensor in batch.items() if name != "labels"}
    pixels = {"pixel_values": batch["pixel_values"]} if "pixel_values" in batch else {}
    calls: dict[str, dict[str, torch.Tensor]] = {"forward": inputs}
    for name in ("get_image_features", "get_video_features", "get_frame_features"):
        # A video classifier has the image features of the base class, too.
        if hasattr(model, name) and (name != "get_image_features" or pixels["pixel_values"].dim() == 4):
            calls[name] = pixels
    if hasattr(model, "get_text_features"):
        calls["get_text_features"] = {}
        if "image_embeds" in inspect.signature(model.get_text_features).parameters:  # classes of each image's own
            calls["get_text_features"] = {"image_embeds": model.get_image_features(**pixels).pooler_output}
    return calls


@torch.no_grad()
def test_hidden_states_and_attentions_are_returned_where_they_are_asked_for(
    method: MethodUnderTest, backbone: Path, batch: dict
) -> None:
    model = method.build(backbone, attn_implementation="eager")
    for name, inputs in feature_calls(model, batch).items():
        function = getattr(model, name)
        plain = function(**inputs)
        assert plain.get("hidden_states") is None
        assert plain.get("attentions") is None
        options = {"output_hidden_states": True}
        if name != "get_image_features" or not hasattr(model, "vision_model"):  # that one is a ResNet's
            options["output_attentions"] = True
        output = function(**inputs, **options)
        key = next(iter(plain))
        assert set(plain) <= set(output)
        torch.testing.assert_close(output[key], plain[key], rtol=1e-4, atol=1e-4)
        assert len(output.hidden_states) > 1
        if "output_attentions" in options:
            assert len(output.attentions) > 0
            for attention in output.attentions:
                torch.testing.assert_close(attention.sum(dim=-1), torch.ones(attention.shape[:-1]))
        for option in options:
            setattr(model.config, option, True)
        from_config, refused = function(**inputs), function(**inputs, **dict.fromkeys(options, False))
        for option in options:
            setattr(model.config, option, False)
        torch.testing.assert_close(from_config.hidden_states, output.hidden_states, rtol=0, atol=1e-5)
        assert refused.get("hidden_states") is None
        assert refused.get("attentions") is None
        as_tuple = function(**inputs, **options, return_dict=False)
        assert isinstance(as_tuple, tuple)
        assert len(as_tuple) == len(output)


@pytest.mark.parametrize("scope", SCOPES)
def test_weights_that_would_be_offloaded_are_refused_with_the_way_out(
    scope: str, method: MethodUnderTest, folders: dict[str, Path], tmp_path: Path, transformers_records: list[str]
) -> None:
    place = {"device_map": "auto", "max_memory": {"cpu": "50KB"}, "offload_folder": str(tmp_path)}
    with pytest.raises(ValueError, match="cannot be computed with offloaded weights"):
        method.auto_class.from_pretrained(folders[scope], **place)
    transformers_records.clear()  # accelerate logs that parts are on the disk


@torch.no_grad()
def test_a_keyword_that_nothing_reads_is_refused(method: MethodUnderTest, built: PreTrainedModel, batch: dict) -> None:
    for name, inputs in feature_calls(built, batch).items():
        with pytest.raises(TypeError, match="atention_mask"):
            getattr(built, name)(**inputs, atention_mask=torch.ones(1))
        with pytest.raises(TypeError, match=r"does not take .*output_hidden_state"):
            getattr(built, name)(**inputs, output_hidden_state=True)


@torch.no_grad()
def test_double_precision_is_not_rounded_on_the_way(
    method: MethodUnderTest, backbone: Path, batch: dict, folders: dict[str, Path]
) -> None:
    double = {name: each.double() if each.is_floating_point() else each for name, each in batch.items()}
    models = [method.auto_class.from_pretrained(folders[scope], dtype=torch.float64) for scope in SCOPES]
    models.append(method.auto_class.from_pretrained(folders["full"]).double())
    expected = None
    for model in models:
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
        found = logits(model, double)
        assert found.dtype == torch.float64
        # Rounded to single precision anywhere, a number would be the same after being rounded once more.
        finite = found[found.isfinite() & (found != 0)]
        assert (finite.float().double() != finite).float().mean() > 0.9
        expected = found if expected is None else expected
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)  # files hold single precision


# -- without a borrowed backbone -------------------------------------------------------------------------------------

COMPLETE = [name for name in PACKAGES if name not in TESTED]


@pytest.mark.parametrize("name", COMPLETE)
def test_a_model_without_a_borrowed_backbone_is_loaded_and_asked_as_the_others(name: str, tmp_path: Path) -> None:
    """The tests next to its `tested_method.py` test what is specific to it."""
    model, inputs = import_module(f"tests.models.{name}.tested_method").build_complete()
    model.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = model(**inputs).logits
        for how in ({}, {"device_map": {"": "cpu"}}, {"device_map": "cpu"}):
            loaded = AutoModel.from_pretrained(tmp_path, **how)
            assert type(loaded) is type(model)
            assert torch.equal(loaded(**inputs).logits, expected)
        half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
        assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}
        torch.testing.assert_close(half(**inputs).logits.float(), expected, rtol=0, atol=0.3)
        for row, padding in enumerate((inputs["attention_mask"] == 0).sum(dim=1).tolist()):
            alone = {key: tensor[row : row + 1] for key, tensor in inputs.items()}
            length = inputs["input_ids"].shape[1] - padding
            alone |= {key: alone[key][:, :length] for key in ("input_ids", "attention_mask")}
            torch.testing.assert_close(model(**alone).logits[0], expected[row], rtol=0, atol=1e-4)
    assert isinstance(AutoProcessor.from_pretrained(tmp_path), type(model.processor))


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
