"""LoRA on a backbone together with a learned prompt: in checkpoints of this package, and in those of peft."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import AutoModelForImageClassification, PreTrainedModel, Trainer, TrainingArguments, pipeline
from transformers.pytorch_utils import Conv1D

from hf_prompt_models import (
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    ClipZeroShotForImageClassification,
    CoOpForImageClassification,
)
from hf_prompt_models.lora import CONFIG_FILE, WEIGHTS_FILE, add_lora, linear_layers, merge_lora, save_with_lora
from hf_prompt_models.models import PACKAGES
from tests.models.alpro import little
from tests.tested_method import MethodUnderTest, few_by_default, find_methods


peft = pytest.importorskip("peft")
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"),
    # Old versions of peft request the vocabulary of the backbone from the Hub when they save.
    pytest.mark.filterwarnings("ignore:Could not find a config file in:UserWarning"),
]

TESTED = {name: method for name, method in find_methods().items() if name in PACKAGES}
ATTENTION_OF_VISION = r"vision_model\..*\.(q|v)_proj"


@pytest.fixture(scope="module", params=few_by_default(TESTED))
def method(request: pytest.FixtureRequest) -> MethodUnderTest:
    return TESTED[request.param]


@torch.no_grad()
def outputs(model: nn.Module, method: MethodUnderTest, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    return model(**batch)[method.logits_name]


def train(adapted: nn.Module, batch: dict[str, Any]) -> None:
    """Train a few steps manually; from the second step on, the first LoRA factors have gradients, too."""
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    adapted.train()
    for _ in range(3):
        optimizer.zero_grad()
        adapted(**batch).loss.backward()
        optimizer.step()
    adapted.eval()


def nbytes(adapted: nn.Module) -> int:
    return sum(parameter.nbytes for parameter in adapted.parameters() if parameter.requires_grad)


@dataclass(frozen=True)
class Saved:
    """A method's model with trained updates, which were saved.

    Attributes:
        folder: the folder that they were saved to.
        model: the model before `add_lora`.
        adapted: the model with the updates.
        trained: names of the trained parameters.
        batch: the inputs.
        before: outputs of the model for the inputs before training.
        expected: outputs of the model after training.
    """

    folder: Path
    model: PreTrainedModel
    adapted: nn.Module
    trained: set[str]
    batch: dict[str, torch.Tensor]
    before: torch.Tensor
    expected: torch.Tensor


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Saved]:
    """All methods, by name."""
    torch.manual_seed(0)
    found = {}
    for name, method in TESTED.items():
        folder = tmp_path_factory.mktemp("saved")
        model = method.build(method.write_backbone(folder / "backbone"))
        batch = method.batch(model, 4)
        before = outputs(model, method, batch)
        adapted = add_lora(model, rank=2)
        trained = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
        train(adapted, batch)
        save_with_lora(adapted, folder / "saved")
        save_file(batch, folder / "batch.safetensors")
        expected = outputs(adapted, method, batch)
        found[name] = Saved(folder / "saved", model, adapted, trained, batch, before, expected)
    return found


FRESH_PROCESS = """
import sys
from pathlib import Path
sys.modules["peft"] = None  # not needed for loading
import torch
torch.set_num_threads(1)
import hf_prompt_models, transformers
from safetensors.torch import load_file, save_file
for folder, auto_class, logits in {jobs!r}:
    model = getattr(transformers, auto_class).from_pretrained(folder)
    output = model(**load_file(Path(folder).parent / "batch.safetensors"))
    save_file({{"logits": output[logits].detach().contiguous()}}, Path(folder).parent / "answer.safetensors")
"""


@pytest.mark.slow
def test_prompt_and_updates_are_loaded_in_a_fresh_process(saved: dict[str, Saved]) -> None:
    """All methods in one process, because starting one takes seconds."""
    jobs = [
        (str(each.folder), TESTED[name].auto_class.__name__, TESTED[name].logits_name) for name, each in saved.items()
    ]
    script = FRESH_PROCESS.format(jobs=jobs)
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for each in saved.values():
        answer = load_file(each.folder.parent / "answer.safetensors")["logits"]
        torch.testing.assert_close(answer, each.expected, rtol=1e-4, atol=1e-4)  # W x + B A x against (W + B A) x


@pytest.mark.parametrize("name", TESTED)
def test_prompt_and_updates_are_saved_small_and_load_in_the_pipeline(
    name: str, saved: dict[str, Saved], tmp_path: Path
) -> None:
    method, here = TESTED[name], saved[name]
    beside = {name.removeprefix("base_model.model.").replace(".modules_to_save.default", "") for name in here.trained}
    assert {name for name in beside if ".lora_" not in name} == method.learned
    assert not torch.allclose(here.expected, here.before, atol=1e-2)

    written = sum(file.stat().st_size for file in here.folder.glob("*.safetensors"))
    kept = sum(tensor.nbytes for name, tensor in here.model.state_dict().items() if name in method.kept)
    tensors = len(here.trained) + len(method.kept)
    assert written < nbytes(here.adapted) + kept + 2_000 + 200 * tensors

    loaded = method.auto_class.from_pretrained(here.folder)
    assert {name for name, parameter in loaded.named_parameters() if parameter.requires_grad} == method.learned
    loaded._find_processor()
    method.check_pipeline(pipeline(method.pipeline_task, model=str(here.folder)), loaded)
    # Saved again, it is complete, because its backbone now differs from its base.
    loaded.save_pretrained(tmp_path)
    again = method.auto_class.from_pretrained(tmp_path)
    assert torch.equal(outputs(again, method, here.batch), outputs(loaded, method, here.batch))


def test_pefts_own_files_bring_both_back(method: MethodUnderTest, tmp_path: Path) -> None:
    backbone = method.write_backbone(tmp_path / "backbone")
    model = method.build(backbone)
    batch = method.batch(model, 4)
    own = sorted({name.split(".")[0] for name in method.learned})
    layers = [f"{model.backbone_name}.{name}" for name in linear_layers(model.backbone)]
    config = peft.LoraConfig(
        r=2,
        target_modules=layers,
        modules_to_save=own or None,
        fan_in_fan_out=any(isinstance(module, Conv1D) for module in model.modules()),
    )
    adapted = peft.get_peft_model(model, config)
    train(adapted, batch)
    expected, size = outputs(adapted, method, batch), nbytes(adapted)
    adapted.save_pretrained(tmp_path / "adapter")
    assert (tmp_path / "adapter" / WEIGHTS_FILE).stat().st_size < size + 40_000
    loaded = peft.PeftModel.from_pretrained(method.build(backbone), tmp_path / "adapter")
    found = loaded.state_dict()
    for name, tensor in adapted.state_dict().items():
        if ".original_module." not in name:  # which peft keeps next to the trained copy
            assert torch.equal(found[name], tensor), name
    torch.testing.assert_close(outputs(loaded, method, batch), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("model_class", [AlproForVideoTextRetrieval, AlproForVideoQuestionAnswering])
def test_alpro_under_low_rank_updates_is_pefts_to_save(model_class: type[PreTrainedModel], tmp_path: Path) -> None:
    def build() -> PreTrainedModel:
        return little.lively(model_class(little.config()))

    heads = [name for name, part in build().named_children() if name != "alpro"]
    config = peft.LoraConfig(r=2, target_modules=r"alpro\..*\.(query|value|q_proj|v_proj|qkv)", modules_to_save=heads)
    adapted = peft.get_peft_model(build(), config)
    videos, texts = little.videos(3).float(), little.texts(3)
    task = {"return_loss": True} if model_class is AlproForVideoTextRetrieval else {"labels": torch.tensor([0, 1, 0])}
    train(adapted, {"pixel_values": videos, **texts, **task})

    @torch.no_grad()
    def said(model: nn.Module) -> torch.Tensor:
        torch.manual_seed(0)
        return next(iter(model(pixel_values=videos, **texts).values()))

    adapted.save_pretrained(tmp_path)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size < nbytes(adapted) + 40_000
    loaded = peft.PeftModel.from_pretrained(build(), tmp_path)
    torch.testing.assert_close(said(loaded), said(adapted), rtol=0, atol=1e-5)
    assert not torch.allclose(said(build()), said(adapted), atol=1e-3)


@pytest.fixture
def coop(openai_clip: Path) -> CoOpForImageClassification:
    model = TESTED["coop"].build(openai_clip)
    assert isinstance(model, CoOpForImageClassification)
    return model


def test_the_trainer_trains_vision_tower_and_context_together(
    coop: CoOpForImageClassification, tmp_path: Path
) -> None:
    batch = TESTED["coop"].batch(coop, 4)
    adapted = add_lora(coop, rank=2, alpha=2, dropout=0.1, targets=ATTENTION_OF_VISION)
    updated = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad and ".lora_" in name}
    assert len(updated) == 2 * 2 * coop.config.clip_config.vision_config.num_hidden_layers
    assert all(".clip.vision_model." in name for name in updated)
    arguments = TrainingArguments(
        output_dir=str(tmp_path), max_steps=2, save_steps=2, use_cpu=True, report_to="none", disable_tqdm=True
    )
    dataset = [{name: tensor[index] for name, tensor in batch.items()} for index in range(4)]
    Trainer(model=adapted, args=arguments, train_dataset=dataset).train()
    adapted.eval()
    backbone = str(coop.config.base_model_name_or_path)
    loaded = peft.PeftModel.from_pretrained(TESTED["coop"].build(Path(backbone)), tmp_path / "checkpoint-2")
    context = coop.prompt_learner.context
    assert not torch.equal(context, TESTED["coop"].build(Path(backbone)).prompt_learner.context)
    assert torch.equal(loaded.base_model.model.prompt_learner.context, context)
    torch.testing.assert_close(
        outputs(loaded, TESTED["coop"], batch), outputs(adapted, TESTED["coop"], batch), rtol=0, atol=1e-4
    )


def test_updates_of_the_text_tower_are_seen_at_once(openai_clip: Path) -> None:
    """Class features are cached in eval mode, but LoRA changes the text tower even if its weights are frozen."""
    model = ClipZeroShotForImageClassification.from_backbone(openai_clip, ["cat", "dog"])

    def text() -> torch.Tensor:
        with torch.no_grad():
            return model.get_text_features().pooler_output

    plain = text()
    adapted = add_lora(model, rank=2, targets=r"text_model\..*\.(q|v)_proj")
    assert torch.equal(text(), plain)  # their second factors begin as zeros
    model.get_text_features().pooler_output[0, 0].backward()
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert any(bool(parameter.grad.any()) for parameter in trained)
    with torch.no_grad():
        for parameter in trained:
            parameter.data.normal_()
    updated = text()
    assert not torch.allclose(updated, plain, atol=1e-3)
    with adapted.disable_adapter():
        assert torch.equal(text(), plain)
    assert torch.equal(text(), updated)
    adapted.merge_and_unload()
    torch.testing.assert_close(text(), updated, rtol=0, atol=1e-5)


def test_merging_adds_the_scaled_product_of_the_factors(tmp_path: Path) -> None:
    class Backbone(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.conv = nn.Linear(3, 5), Conv1D(5, 3)  # Conv1D's weight is (in, out)

    backbone, generator = Backbone(), torch.Generator().manual_seed(0)
    weights = {name: tensor.clone() for name, tensor in backbone.state_dict().items()}
    factors = {
        f"base_model.model.{layer}.lora_{which}.weight": torch.randn(shape, generator=generator)
        for layer in ("linear", "conv")
        for which, shape in {"A": (2, 3), "B": (5, 2)}.items()
    }
    save_file(factors, tmp_path / WEIGHTS_FILE)
    (tmp_path / CONFIG_FILE).write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 3}))
    merge_lora(backbone, tmp_path, "")
    for layer in ("linear", "conv"):
        product = torch.zeros(5, 3)
        for rank in range(2):
            for row in range(5):
                for column in range(3):
                    second = factors[f"base_model.model.{layer}.lora_B.weight"][row, rank]
                    product[row, column] += second * factors[f"base_model.model.{layer}.lora_A.weight"][rank, column]
        expected = weights[f"{layer}.weight"] + 1.5 * (product.T if layer == "conv" else product)
        torch.testing.assert_close(backbone.state_dict()[f"{layer}.weight"], expected)
        assert torch.equal(backbone.state_dict()[f"{layer}.bias"], weights[f"{layer}.bias"])


def set_field(**fields: object) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        values = json.loads((folder / CONFIG_FILE).read_text())
        (folder / CONFIG_FILE).write_text(json.dumps(values | fields))

    return change


def rename_a_tensor(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS_FILE)
    name = min(tensors)
    save_file({(f"{each}x" if each == name else each): t for each, t in tensors.items()}, folder / WEIGHTS_FILE)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (set_field(use_dora=True), "not written by save_with_lora"),
        (set_field(peft_type="IA3"), "not written by save_with_lora"),
        (set_field(r=3), "does not fit the backbone"),
        (set_field(r=0), "does not fit the backbone"),
        (set_field(lora_alpha="x"), "not written by save_with_lora"),
        (rename_a_tensor, "does not fit the backbone"),
        (lambda folder: (folder / CONFIG_FILE).write_text("[" * 10_000), "cannot be read as JSON"),
        (lambda folder: (folder / WEIGHTS_FILE).write_bytes(b"torn"), "is damaged"),
        (lambda folder: (folder / WEIGHTS_FILE).unlink(), WEIGHTS_FILE),
    ],
)
def test_updates_that_do_not_fit_are_refused(
    damage: Callable[[Path], None], message: str, coop: CoOpForImageClassification, tmp_path: Path
) -> None:
    save_with_lora(add_lora(coop, rank=2, targets=["q_proj"]), tmp_path)
    CoOpForImageClassification.from_pretrained(tmp_path)
    damage(tmp_path)
    with pytest.raises((ValueError, OSError), match=message) as error:
        CoOpForImageClassification.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_what_cannot_be_updated_is_refused(coop: CoOpForImageClassification, openai_clip: Path) -> None:
    with pytest.raises(ValueError, match=r"named key or nothing. Its linear layers are \["):
        add_lora(coop, rank=2, targets=["key", "nothing"])
    coop.clip.visual_projection.requires_grad_(True)
    with pytest.raises(ValueError, match="trainable='head'"):
        add_lora(coop, rank=2)


def test_a_folder_with_updates_is_found_by_the_auto_class_where_peft_is_installed(
    coop: CoOpForImageClassification, tmp_path: Path
) -> None:
    """transformers, too, looks for peft's files then."""
    save_with_lora(add_lora(coop, rank=2, targets=["q_proj"]), tmp_path)
    assert type(AutoModelForImageClassification.from_pretrained(tmp_path)) is CoOpForImageClassification
