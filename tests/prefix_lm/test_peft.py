"""LoRA on the language model with peft, where it is installed."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models.lora import add_lora, take_lora
from tests.prefix_lm.backbones import METHODS, examples, make


peft = pytest.importorskip("peft")


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("method", METHODS)
def test_low_rank_updates_of_the_language_model_are_trained_and_saved_alone(method: str, tmp_path: Path) -> None:
    model = make(method, "llama")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    new = ["image_projection", "segments"] if method == "mantis" else ["image_projection"]
    config = peft.LoraConfig(r=4, target_modules=r"language_model\..*(q|v)_proj", modules_to_save=new)
    adapted = peft.get_peft_model(model, config)
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-2)
    batch, prompt = examples(model, [0, 1, 2, 3], suffix=["red", "a", "it", "is"]), examples(model, [0, 1, 2, 3])
    adapted.train()
    losses = []
    for _ in range(10):
        loss = adapted(**batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    adapted.eval()
    written = adapted.generate(**prompt, max_new_tokens=6)

    adapted.save_pretrained(tmp_path)
    size = (tmp_path / "adapter_model.safetensors").stat().st_size
    assert size < sum(parameter.nbytes for parameter in trained) + 5_000

    loaded = peft.PeftModel.from_pretrained(make(method, "llama"), tmp_path)
    assert torch.equal(loaded.generate(**prompt, max_new_tokens=6), written)
    for name, tensor in loaded.unload().state_dict().items():
        if name.startswith("language_model."):
            assert torch.equal(tensor, before[name])


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.parametrize("language_model", ["gpt2", "llama"])
def test_updates_are_added_where_they_lie_in_a_folder_or_in_a_copy_of_a_repository(
    language_model: str, tmp_path: Path
) -> None:
    adapted = add_lora(make("frozen", language_model), 2, None, 0.0)
    torch.manual_seed(0)
    for name, parameter in adapted.named_parameters():
        if ".lora_" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    prompt = examples(adapted, [0, 1])
    adapted.eval()
    with torch.no_grad():
        expected = adapted(**prompt).logits
    model = take_lora(adapted)
    with torch.no_grad():
        assert not torch.allclose(model(**prompt).logits, expected)
    with pytest.raises(ValueError, match="Load the model from where it was saved"):
        model.save_pretrained(tmp_path / "whole", save_backbone=True)
    assert list((tmp_path / "whole").iterdir()) == []
    updates = sum(tensor.numel() for tensor in model.lora_updates.tensors.values())
    own = sum(each.numel() for name, each in model.named_parameters() if not name.startswith("language_model."))
    assert model.describe_checkpoint().num_learned == own + updates
    folder = tmp_path / "saved"
    model.save_pretrained(folder)
    for place in ("root", "lora"):
        if place == "lora":
            model._arrange_for_hub(folder)
        loaded = type(model).from_pretrained(folder)
        with torch.no_grad():
            assert torch.allclose(loaded(**prompt).logits, expected, atol=1e-5)
        assert loaded.config.weights_scope == "full"
        assert (folder / "adapter_config.json").exists() == (place == "root")
