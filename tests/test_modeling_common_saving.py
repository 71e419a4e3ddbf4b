"""Every registered method saves all trained parameters, whatever they are and however they were changed."""

import copy
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import PreTrainedModel, Trainer, TrainingArguments, pipeline

from hf_prompt_models.lora import linear_layers
from hf_prompt_models.models import PACKAGES
from tests.modeling_common import TESTED, backbone, batch, built, folders, logits
from tests.tested_method import MethodUnderTest, few_by_default


pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning"),
    pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning"),
]
LOGGER = "hf_prompt_models.saving.prompt_checkpoints"


@pytest.fixture(scope="module", params=few_by_default(name for name in PACKAGES if name in TESTED))
def method(request: pytest.FixtureRequest) -> MethodUnderTest:
    return TESTED[request.param]


@pytest.fixture
def fresh(built: PreTrainedModel) -> Callable[[], PreTrainedModel]:
    """Makes copies of the model, which take less time than models."""
    return lambda: copy.deepcopy(built, {id(built.processor): built.processor})


@pytest.fixture
def model(fresh: Callable[[], PreTrainedModel]) -> PreTrainedModel:
    return fresh().eval()


@pytest.fixture
def borrowing(model: PreTrainedModel) -> PreTrainedModel:
    if model.config.weights_scope == "full":
        pytest.skip("the backbone is trained, and always saved")
    return model


def middle(module: nn.Module) -> nn.Parameter:
    """A weight that no fingerprint samples."""
    matrices = [parameter for parameter in module.parameters() if parameter.dim() == 2]
    return matrices[len(matrices) // 2]


@torch.no_grad()
def _one_value(model: PreTrainedModel) -> None:
    middle(model.backbone)[-1, -1] += 0.5


def _one_value_behind_autograd(model: PreTrainedModel) -> None:
    middle(model.backbone).data[-1, 0] -= 0.5


def _permuted_values(model: PreTrainedModel) -> None:
    weight = middle(model.backbone)
    weight.data.copy_(weight.data.flip(0, 1))


def _load_state_dict(model: PreTrainedModel) -> None:
    state = {name: tensor.clone() for name, tensor in model.backbone.state_dict().items()}
    name = next(name for name, tensor in reversed(state.items()) if tensor.dim() == 1 and tensor.is_floating_point())
    model.backbone.load_state_dict(state | {name: state[name] + 0.25})


def _replaced_parameter(model: PreTrainedModel) -> None:
    linear = next(module for module in model.backbone.modules() if isinstance(module, nn.Linear))
    linear.weight = nn.Parameter(linear.weight.detach() * 1.5, requires_grad=False)


CHANGES = [_one_value, _one_value_behind_autograd, _permuted_values, _load_state_dict, _replaced_parameter]


def test_any_change_of_the_backbone_is_noticed(borrowing: PreTrainedModel, tmp_path: Path) -> None:
    state = {name: tensor.clone() for name, tensor in borrowing.backbone.state_dict().items()}
    for change in CHANGES:
        change(borrowing)
        with pytest.raises(ValueError, match="save_backbone=True"):
            borrowing.save_pretrained(tmp_path / "refused", save_backbone=False)
        borrowing.backbone.load_state_dict(state)
        borrowing.save_pretrained(tmp_path / change.__name__, save_backbone=False)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize("change", [_one_value_behind_autograd, _replaced_parameter])
def test_a_changed_backbone_is_saved_with_a_warning_that_gives_the_size(
    change: Callable,
    method: MethodUnderTest,
    borrowing: PreTrainedModel,
    batch: dict,
    caplog: pytest.LogCaptureFixture,
    transformers_records: list[str],
    tmp_path: Path,
) -> None:
    model = borrowing
    change(model)
    model.save_pretrained(tmp_path / "one")
    before = model.config.to_dict()
    model.save_pretrained(tmp_path / "two")
    assert model.config.to_dict() == before
    assert before["weights_scope"] == "prompt"
    messages = [record.getMessage() for record in caplog.records if record.name == LOGGER]
    assert len(messages) == 1  # once for a model
    assert "MB" in messages[0]
    loaded = method.auto_class.from_pretrained(tmp_path / "two")
    assert loaded.config.weights_scope == "full"
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    assert torch.equal(logits(loaded, batch), logits(model, batch))
    transformers_records.clear()  # that weights are no longer tied
    # What is loaded knows that it is not the base either.
    with pytest.raises(ValueError, match="save_backbone=True"):
        loaded.save_pretrained(tmp_path / "again", save_backbone=False)


def test_an_unchanged_backbone_is_left_out_again_after_loading_a_full_checkpoint(
    method: MethodUnderTest, borrowing: PreTrainedModel, batch: dict, folders: dict[str, Path], tmp_path: Path
) -> None:
    loaded = method.auto_class.from_pretrained(folders["full"])
    loaded.save_pretrained(tmp_path, save_backbone=False)
    again = method.auto_class.from_pretrained(tmp_path)
    assert again.config.weights_scope == "prompt"
    assert torch.equal(logits(again, batch), logits(loaded, batch))


def test_a_trained_backbone_is_saved_by_the_trainer_and_resumed(
    method: MethodUnderTest,
    fresh: Callable[[], PreTrainedModel],
    borrowing: PreTrainedModel,
    transformers_records: list[str],
    tmp_path: Path,
) -> None:
    rows = [{name: tensor[:1].clone() for name, tensor in method.batch(borrowing, 4).items()}] * 4

    def trainer(model: PreTrainedModel, steps: int) -> Trainer:
        arguments = TrainingArguments(
            str(tmp_path / "run"),
            max_steps=steps,
            save_steps=1,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            learning_rate=1e-2,
            per_device_train_batch_size=1,
            remove_unused_columns=False,
            warmup_steps=1,
        )
        return Trainer(model, arguments, train_dataset=rows, data_collator=lambda some: dict(some[0]))

    def unfrozen() -> PreTrainedModel:
        model = fresh()
        model.requires_grad_(True)
        return model

    straight = unfrozen()
    trainer(straight, 2).train()
    loaded = method.auto_class.from_pretrained(tmp_path / "run" / "checkpoint-2")
    for name, tensor in straight.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name
    resumed = unfrozen()
    trainer(resumed, 2).train(resume_from_checkpoint=str(tmp_path / "run" / "checkpoint-1"))
    for name, tensor in straight.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=1e-5)
    transformers_records.clear()  # that tied weights are not in the checkpoint


@pytest.mark.parametrize("convert", ["bfloat16"])
def test_another_dtype_is_no_change_of_the_backbone(
    convert: str, method: MethodUnderTest, borrowing: PreTrainedModel, tmp_path: Path
) -> None:
    state = torch.get_rng_state()
    getattr(borrowing, convert)()
    borrowing.save_pretrained(tmp_path / "converted", save_backbone=False)
    assert torch.equal(torch.get_rng_state(), state)  # saving does not change the random state of training
    loaded = method.auto_class.from_pretrained(tmp_path / "converted")
    assert loaded.backbone.dtype == borrowing.dtype
    for name, tensor in borrowing.backbone.state_dict().items():
        # MAnTiS makes the rows of its own tokens of the others, which then have less precision.
        torch.testing.assert_close(loaded.backbone.state_dict()[name], tensor, rtol=0, atol=1e-3)
    middle(borrowing.backbone).data[-1, -1] += 1
    with pytest.raises(ValueError, match="save_backbone=True"):
        borrowing.save_pretrained(tmp_path / "changed", save_backbone=False)


def test_a_backbone_in_less_precision_than_its_base_is_saved(borrowing: PreTrainedModel, tmp_path: Path) -> None:
    borrowing.half().float()  # values that the base does not have
    with pytest.raises(ValueError, match="save_backbone=True"):
        borrowing.save_pretrained(tmp_path, save_backbone=False)


def test_saving_moves_no_random_generator(model: PreTrainedModel, tmp_path: Path) -> None:
    state = torch.get_rng_state()
    model.save_pretrained(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_tensors_that_the_configuration_does_not_describe_are_refused(model: PreTrainedModel, tmp_path: Path) -> None:
    model.backbone.extra = nn.Linear(3, 3)
    with pytest.raises(ValueError, match=r"extra\.weight"):
        model.save_pretrained(tmp_path)


def test_a_folder_that_is_gone_is_not_looked_up_on_the_hub(
    method: MethodUnderTest, model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("runs/one")
    loaded = method.auto_class.from_pretrained("runs/one")
    shutil.rmtree("runs/one")
    monkeypatch.chdir("/")

    def asked(*_: object, **__: object) -> None:
        raise AssertionError("the Hub was asked")

    monkeypatch.setattr("huggingface_hub.file_download.hf_hub_download", asked)
    monkeypatch.setattr("transformers.utils.hub.hf_hub_download", asked)
    loaded.save_pretrained(tmp_path / "two")


# -- adapters of transformers' PEFT integration ----------------------------------------------------------------------


def spread(model: PreTrainedModel) -> None:
    """Give adapters values as training would."""
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if any(kind in name for kind in ("lora_", "ia3_", "hada_")):
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=generator))


def targets(method: MethodUnderTest, model: PreTrainedModel) -> list[str]:
    used = [name for name in linear_layers(model.backbone) if name.startswith(method.used_part)]
    return [f"{model.backbone_name}.{name}" for name in used[:3]]


def check_loaded(
    method: MethodUnderTest, adapted: PreTrainedModel, batch: dict, expected: torch.Tensor, folder: Path
) -> PreTrainedModel:
    """Load a folder, save what was loaded and load that."""
    loaded = method.auto_class.from_pretrained(folder)
    torch.testing.assert_close(logits(loaded, batch), expected, rtol=0, atol=1e-5)
    assert set(loaded.peft_config) == set(adapted.peft_config)
    loaded.save_pretrained(folder / "again")
    again = type(adapted).from_pretrained(folder / "again")
    torch.testing.assert_close(logits(again, batch), expected, rtol=0, atol=1e-5)
    assert set(again.peft_config) == set(adapted.peft_config)
    return loaded


@pytest.mark.parametrize("active", ["other", None])
def test_adapters_are_saved_with_the_model(
    active: str | None, method: MethodUnderTest, model: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    plain, layers = logits(model, batch), targets(method, model)
    for rank, name in enumerate(("default", "other"), start=2):
        config = peft.LoraConfig(r=rank, target_modules=layers[rank - 2 :])
        model.add_adapter(config, adapter_name=name)
    spread(model)
    if active is None:
        model.disable_adapters()
    else:
        model.set_adapter(active)
    expected = logits(model.eval(), batch)
    assert torch.allclose(expected, plain, atol=1e-5) == (active is None)
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(model, batch), expected)
    names = {file.name for file in tmp_path.iterdir()}
    assert {"config.json", "adapter_config.json", "adapter_model.safetensors", "other"} <= names
    loaded = check_loaded(method, model, batch, expected, tmp_path)
    if active is not None:
        method.check_pipeline(pipeline(method.pipeline_task, model=str(tmp_path)), loaded)


def test_adapters_are_saved_from_a_state_dict_which_stays_whole(
    method: MethodUnderTest, model: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    """As `accelerator.get_state_dict` makes it."""
    peft = pytest.importorskip("peft")
    model.add_adapter(peft.LoraConfig(r=2, target_modules=targets(method, model)))
    spread(model)
    state_dict = dict(model.state_dict())
    ignored = model._keys_to_ignore_on_save
    model.save_pretrained(tmp_path, state_dict=state_dict)
    assert state_dict.keys() == model.state_dict().keys()
    assert model._keys_to_ignore_on_save == ignored
    loaded = method.auto_class.from_pretrained(tmp_path)
    torch.testing.assert_close(logits(loaded, batch), logits(model.eval(), batch), rtol=0, atol=1e-5)


@pytest.mark.filterwarnings("ignore:Adapter .* was active which is now deleted:UserWarning")
@pytest.mark.parametrize("changed", [False, True])
def test_a_model_whose_adapters_were_deleted_is_saved_as_it_was(
    changed: bool, method: MethodUnderTest, model: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    if changed:
        _one_value(model)
    expected, names, layers = logits(model, batch), model.state_dict().keys(), targets(method, model)
    parts = sorted({name.split(".")[0] for name in method.learned})[:1] or None
    for name in ("default", "other"):
        model.add_adapter(peft.LoraConfig(r=2, target_modules=layers, modules_to_save=parts), name)
    spread(model)
    model.delete_adapter("other")
    model.delete_adapter("default")
    assert model.state_dict().keys() == names
    model.save_pretrained(tmp_path)
    assert not list(tmp_path.glob("adapter*"))
    loaded = method.auto_class.from_pretrained(tmp_path)
    assert loaded.config.weights_scope == ("full" if changed else model.config.weights_scope)
    torch.testing.assert_close(logits(loaded, batch), expected, rtol=0, atol=1e-5)


def test_an_adapter_of_another_kind_with_trained_parts_is_saved(
    method: MethodUnderTest, model: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    parts = sorted({name.split(".")[0] for name in method.learned})[:1] or None
    model.add_adapter(
        peft.IA3Config(target_modules=targets(method, model), feedforward_modules=[], modules_to_save=parts)
    )
    spread(model)
    for name, parameter in model.named_parameters():
        if ".modules_to_save." in name:
            parameter.data.mul_(1.5)
    expected = logits(model.eval(), batch)
    model.save_pretrained(tmp_path)
    check_loaded(method, model, batch, expected, tmp_path)


def test_an_adapter_over_a_changed_backbone_is_saved(
    method: MethodUnderTest, model: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    _one_value(model)
    model.add_adapter(peft.LoraConfig(r=2, target_modules=targets(method, model)))
    spread(model)
    expected = logits(model.eval(), batch)
    model.save_pretrained(tmp_path)
    check_loaded(method, model, batch, expected, tmp_path)


def test_a_folder_with_an_adapter_alone_brings_its_base(
    method: MethodUnderTest, model: PreTrainedModel, batch: dict, tmp_path: Path
) -> None:
    """As PEFT writes it."""
    peft = pytest.importorskip("peft")
    model.save_pretrained(tmp_path / "base")
    base = method.auto_class.from_pretrained(tmp_path / "base")
    wrapped = peft.get_peft_model(base, peft.LoraConfig(r=2, target_modules=targets(method, model)))
    spread(wrapped)
    expected = wrapped.eval()(**batch)[method.logits_name].detach()
    wrapped.save_pretrained(tmp_path / "adapter")
    for loading_class in (method.auto_class, type(model)):
        loaded = loading_class.from_pretrained(tmp_path / "adapter")
        torch.testing.assert_close(logits(loaded, batch), expected, rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="save_with_lora"):
        wrapped.base_model.model.save_pretrained(tmp_path / "inner")  # which would lose the adapter
    wrapped.delete_adapter("default")
    with pytest.raises(ValueError, match=r"base_layer.* that its configuration does not describe"):
        wrapped.base_model.model.save_pretrained(tmp_path / "inner")  # with names that loading would not find


def test_a_trainer_resumes_with_an_adapter(
    method: MethodUnderTest, fresh: Callable[[], PreTrainedModel], model: PreTrainedModel, tmp_path: Path
) -> None:
    peft = pytest.importorskip("peft")
    rows = [{name: tensor[:1].clone() for name, tensor in method.batch(model, 4).items()}] * 4

    def train(model: PreTrainedModel, **resume: str) -> None:
        torch.manual_seed(0)
        model.add_adapter(peft.LoraConfig(r=2, target_modules=targets(method, model)))
        arguments = TrainingArguments(
            str(tmp_path),
            max_steps=3,
            save_steps=2,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            learning_rate=1e-2,
            per_device_train_batch_size=1,
            remove_unused_columns=False,
        )
        Trainer(model, arguments, train_dataset=rows, data_collator=lambda some: dict(some[0])).train(**resume)

    train(model)
    resumed = fresh()
    train(resumed, resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    for name, tensor in model.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=0, atol=1e-5)
