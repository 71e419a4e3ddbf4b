"""Every class saved, and loaded by its own name and by the Auto class."""

from pathlib import Path

import pytest
import torch
import transformers
from packaging.version import Version
from transformers import AutoConfig, AutoModel, AutoProcessor, PreTrainedModel, Trainer, TrainingArguments

from hf_prompt_models import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproProcessor,
    AlproPrompter,
)
from tests.models.alpro import little


CLASSES = (
    AlproModel,
    AlproForPreTraining,
    AlproForVideoTextRetrieval,
    AlproForVideoQuestionAnswering,
    AlproPrompter,
)


def outputs(model: PreTrainedModel) -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    texts = {} if isinstance(model, AlproPrompter) else little.texts(3)
    with torch.no_grad():
        return dict(model(pixel_values=little.videos(3).float(), **texts))


@pytest.mark.parametrize("model_class", CLASSES)
def test_a_saved_model_is_loaded_as_what_it_was(model_class: type[PreTrainedModel], tmp_path: Path) -> None:
    model = little.lively(model_class(little.config(entities=["a", "b", "c", "d", "e"])))
    model.processor = little.processor()
    model.save_pretrained(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {
        "config.json",
        "model.safetensors",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    expected = outputs(model)
    for loaded in (AutoModel.from_pretrained(tmp_path), model_class.from_pretrained(tmp_path)):
        assert type(loaded) is model_class
        frozen = {name for name, each in loaded.named_parameters() if not each.requires_grad}
        assert frozen == {name for name, each in model.named_parameters() if not each.requires_grad}
        assert loaded.config.weights_scope == "full"
        assert not loaded.training
        found = outputs(loaded)
        assert found.keys() == expected.keys()
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert isinstance(AutoProcessor.from_pretrained(tmp_path), AlproProcessor)
    assert AutoConfig.from_pretrained(tmp_path).entities == ["a", "b", "c", "d", "e"]


@pytest.mark.parametrize("model_class", [AlproForVideoTextRetrieval, AlproForVideoQuestionAnswering, AlproModel])
def test_a_pretrained_model_is_fine_tuned_from(
    model_class: type[PreTrainedModel], tmp_path: Path, transformers_records: list[str]
) -> None:
    model = little.lively(AlproForPreTraining(little.config()))
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    towers = loaded if model_class is AlproModel else loaded.alpro
    for name, tensor in model.alpro.state_dict().items():
        assert torch.equal(towers.state_dict()[name], tensor), name
    for name, parameter in loaded.named_parameters():
        assert parameter.isfinite().all(), name
    if model_class is AlproForVideoTextRetrieval:
        assert torch.equal(loaded.vtm_head.weight, model.vtm_head.weight)
        assert not transformers_records  # nothing is missing, and what is not needed is no surprise
    transformers_records.clear()


def test_what_a_checkpoint_lacks_is_initialised(tmp_path: Path, transformers_records: list[str]) -> None:
    little.lively(AlproModel(little.config())).save_pretrained(tmp_path)
    model = AlproForPreTraining.from_pretrained(tmp_path)
    for name, tensor in model.state_dict().items():
        assert tensor.isfinite().all(), name
        assert tensor.abs().max() < 10, name
    assert model.prompter.video_prompts.norm(dim=1).mean().item() == pytest.approx(1, abs=0.4)
    assert model.prompter.alpro.temperature.item() == pytest.approx(0.07)
    assert transformers_records  # a warning names the missing tensors
    transformers_records.clear()


def test_the_words_embeddings_are_those_of_the_masked_language_model(tmp_path: Path) -> None:
    model = AlproForPreTraining(little.config())
    model.save_pretrained(tmp_path)
    for each in (model, AlproForPreTraining.from_pretrained(tmp_path)):
        assert each.mlm_head.predictions.decoder.weight is each.get_input_embeddings().weight
    model.resize_token_embeddings(100, mean_resizing=False)
    output = model(
        pixel_values=little.videos(2).float(),
        mlm_input_ids=torch.tensor([[2, 99], [2, 98]]),
        mlm_labels=torch.tensor([[-100, 99], [-100, 3]]),
    )
    assert output.mlm_loss.isfinite()


@torch.no_grad()
def test_half_precision_and_other_attention_come_close(tmp_path: Path) -> None:
    model = little.lively(AlproForPreTraining(little.config()))
    model.save_pretrained(tmp_path)
    expected = outputs(model)
    eager = AutoModel.from_pretrained(tmp_path, attn_implementation="eager")
    assert eager.alpro.text_model.config._attn_implementation == "eager"
    torch.testing.assert_close(outputs(eager), expected, rtol=1e-4, atol=1e-5)
    half = AutoModel.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert {each.dtype for each in half.parameters()} == {torch.bfloat16}
    found = outputs(half)
    assert found["video_embeds"].dtype == torch.float32
    torch.testing.assert_close(found["video_embeds"], expected["video_embeds"], rtol=0, atol=0.1)


def test_gradients_are_the_same_with_checkpointing() -> None:
    found = []
    for checkpointing in (False, True):
        model = little.lively(AlproForVideoTextRetrieval(little.config())).train()
        if checkpointing and Version(transformers.__version__) >= Version("5.23"):
            model.activation_checkpointing_enable()
        elif checkpointing:
            model.gradient_checkpointing_enable()  # its name before
        torch.manual_seed(0)
        model(pixel_values=little.videos(3).float(), **little.texts(3), return_loss=True).loss.backward()
        found.append({name: each.grad for name, each in model.named_parameters()})
    torch.testing.assert_close(*found)


def test_it_trains_under_the_trainer(tmp_path: Path) -> None:
    model = AlproForPreTraining(little.config(pem_threshold=0.0))
    frozen = {name: each.clone() for name, each in model.prompter.state_dict().items()}
    texts = little.texts(4)
    examples = {
        "pixel_values": little.videos(4).float(),
        **texts,
        "mlm_input_ids": texts["input_ids"],
        "mlm_labels": texts["input_ids"],
        "crop_pixel_values": little.videos(4, seed=1).float(),
        "crop_boxes": torch.tensor([[0, 0, 16, 16]] * 4),
    }
    rows = [{name: each[row] for name, each in examples.items()} for row in range(4)]
    trainer = Trainer(
        model=model,
        args=TrainingArguments(
            output_dir=str(tmp_path),
            per_device_train_batch_size=4,
            max_steps=12,
            learning_rate=3e-3,
            use_cpu=True,
            report_to="none",
            disable_tqdm=True,
            logging_steps=1,
        ),
        train_dataset=rows,
    )
    trainer.train()
    losses = [each["loss"] for each in trainer.state.log_history if "loss" in each]
    assert losses[-1] < losses[0] - 1
    assert all(torch.equal(each, frozen[name]) for name, each in model.prompter.state_dict().items())
