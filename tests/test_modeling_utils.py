"""Checkpoints that do not fit, or are damaged, are refused with a message that explains what to do."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForImageClassification, CLIPModel

from hf_prompt_models import CoOpConfig, CoOpForImageClassification
from tests.local_hub import push_into


NAMES = ["cat", "dog", "the photo"]


@pytest.fixture
def coop(openai_clip: Path) -> CoOpForImageClassification:
    return CoOpForImageClassification.from_backbone(openai_clip, class_names=NAMES, n_ctx=4)


@pytest.fixture
def saved(coop: CoOpForImageClassification, tmp_path: Path) -> Path:
    coop.save_pretrained(tmp_path / "saved")
    return tmp_path / "saved"


def logits(model: CoOpForImageClassification) -> torch.Tensor:
    with torch.no_grad():
        return model(image_embeds=torch.eye(24)).logits


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


# -- the backbone ----------------------------------------------------------------------------------------------------


def test_a_backbone_of_another_width_is_refused(saved: Path, wider_clip: Path) -> None:
    with pytest.raises(ValueError, match="64") as error:
        AutoModelForImageClassification.from_pretrained(saved, base_model_name_or_path=str(wider_clip))
    for part in ("32", str(saved), str(wider_clip), "base_model_name_or_path="):
        assert part in str(error.value)


def test_another_backbone_of_the_same_sizes_is_refused(saved: Path, other_clip: Path) -> None:
    """Four of OpenAI's CLIPs share 512."""
    with pytest.raises(ValueError, match="another backbone") as error:
        AutoModelForImageClassification.from_pretrained(saved, base_model_name_or_path=str(other_clip))
    for part in (str(saved), str(other_clip), "base_model_name_or_path="):
        assert part in str(error.value)


@pytest.mark.parametrize("kind", ["bf16", "fp16", "sharded", "pytorch_model.bin"])
def test_a_copy_of_the_backbone_is_taken(
    kind: str, saved: Path, coop: CoOpForImageClassification, openai_clip: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    if kind == "pytorch_model.bin":  # OpenAI's repositories hold it too
        shutil.copytree(openai_clip, copy)
        torch.save(load_file(copy / "model.safetensors"), copy / "pytorch_model.bin")
        (copy / "model.safetensors").unlink()
    else:
        dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(kind, torch.float32)
        clip = CLIPModel.from_pretrained(openai_clip, dtype=dtype)
        clip.save_pretrained(copy, max_shard_size="200KB" if kind == "sharded" else "5GB")
        assert (len(list(copy.glob("*.safetensors"))) > 1) == (kind == "sharded")
    loaded = AutoModelForImageClassification.from_pretrained(saved, base_model_name_or_path=str(copy))
    tolerance = 3.0 if kind in ("bf16", "fp16") else 1e-4
    torch.testing.assert_close(logits(loaded).float(), logits(coop), rtol=0, atol=tolerance)


def test_a_damaged_backbone_is_named(saved: Path, openai_clip: Path, tmp_path: Path) -> None:
    shutil.copytree(openai_clip, tmp_path / "backbone")
    truncate(tmp_path / "backbone" / "model.safetensors")
    with pytest.raises(OSError, match="damaged") as error:
        CoOpForImageClassification.from_backbone(tmp_path / "backbone", class_names=NAMES)
    assert str(tmp_path / "backbone") in str(error.value)
    with pytest.raises(OSError, match="damaged") as error:
        AutoModelForImageClassification.from_pretrained(saved, base_model_name_or_path=str(tmp_path / "backbone"))
    assert str(tmp_path / "backbone") in str(error.value)


def test_a_backbone_that_is_nowhere_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no-such-backbone"):
        CoOpForImageClassification.from_backbone(tmp_path / "no-such-backbone", class_names=NAMES)


def test_a_prompt_that_names_no_backbone_requests_one(saved: Path) -> None:
    config = json.loads((saved / "config.json").read_text())
    del config["base_model_name_or_path"]
    (saved / "config.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="base_model_name_or_path="):
        AutoModelForImageClassification.from_pretrained(saved)


# -- the weights file ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("save_backbone", [False, True])
def test_a_truncated_weights_file_is_named(
    save_backbone: bool, coop: CoOpForImageClassification, tmp_path: Path
) -> None:
    coop.save_pretrained(tmp_path, save_backbone=save_backbone)
    truncate(tmp_path / "model.safetensors")
    with pytest.raises(OSError, match="damaged") as error:
        AutoModelForImageClassification.from_pretrained(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_missing_weights_file_is_named(saved: Path) -> None:
    (saved / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForImageClassification.from_pretrained(saved)


def test_a_pickle_instead_of_the_weights_is_not_read(saved: Path) -> None:
    torch.save(load_file(saved / "model.safetensors"), saved / "pytorch_model.bin")
    (saved / "model.safetensors").unlink()
    with pytest.raises(OSError, match=r"model\.safetensors"):
        AutoModelForImageClassification.from_pretrained(saved)


@pytest.mark.parametrize(
    "tensors",
    [
        {"prompt_learner.context": torch.zeros(4, 64)},
        {"prompt_learner.context": torch.zeros(5, 32)},
        {"prompt_learner.ctx": torch.zeros(4, 32)},
        {},
    ],
)
def test_weights_that_the_configuration_does_not_describe_are_refused(
    tensors: dict[str, torch.Tensor], saved: Path
) -> None:
    save_file(tensors, saved / "model.safetensors")
    with pytest.raises(ValueError, match=r"prompt_learner\.context.*\(4, 32\)") as error:
        AutoModelForImageClassification.from_pretrained(saved)
    assert str(saved / "model.safetensors") in str(error.value)


# -- saving ----------------------------------------------------------------------------------------------------------


def test_a_model_whose_backbone_came_from_nowhere_is_saved_whole(openai_clip: Path, tmp_path: Path) -> None:
    clip_config = CLIPModel.from_pretrained(openai_clip).config
    model = CoOpForImageClassification(CoOpConfig(clip_config=clip_config, n_ctx=4))
    with pytest.raises(ValueError, match="save_backbone=True"):
        model.save_pretrained(tmp_path / "prompt", save_backbone=False)
    model.save_pretrained(tmp_path / "whole")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "whole")
    assert torch.equal(loaded.prompt_learner.context, model.prompt_learner.context)
    assert torch.equal(loaded.clip.text_projection.weight, model.clip.text_projection.weight)


def test_saving_into_a_file_is_refused(coop: CoOpForImageClassification, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is a file"):
        coop.save_pretrained(tmp_path / "file")


def test_the_configuration_gives_where_the_prompt_comes_from(
    saved: Path, openai_clip: Path, coop: CoOpForImageClassification
) -> None:
    config = json.loads((saved / "config.json").read_text())
    assert config["base_model_name_or_path"] == str(openai_clip)
    assert config["weights_scope"] == "prompt"
    assert config["base_model_fingerprint"] == coop.config.base_model_fingerprint
    assert config["id2label"] == {"0": "cat", "1": "dog", "2": "the photo"}
    assert config["clip_config"]["text_config"]["eos_token_id"] == 2  # as the backbone has it


@pytest.fixture
def pushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that a push would upload."""
    push_into(tmp_path, monkeypatch)
    return tmp_path


def test_a_push_may_name_the_backbone_on_the_hub(coop: CoOpForImageClassification, pushed: Path) -> None:
    coop.push_to_hub("user/repository", base_model="openai/clip-vit-base-patch32")
    config = json.loads((pushed / "config.json").read_text())
    assert config["base_model_name_or_path"] == "openai/clip-vit-base-patch32"
    assert config["base_model_revision"] == "c" * 40  # the newest there
    assert config["weights_scope"] == "prompt"


def test_a_push_may_hold_the_backbone(coop: CoOpForImageClassification, pushed: Path) -> None:
    coop.push_to_hub("user/repository", save_backbone=True)
    assert json.loads((pushed / "config.json").read_text())["weights_scope"] == "full"
    assert len(load_file(pushed / "model.safetensors")) == len(coop.state_dict())


def test_a_push_tells_no_path_of_this_machine(openai_clip: Path, pushed: Path) -> None:
    model = CoOpForImageClassification.from_backbone(openai_clip, class_names=NAMES, n_ctx=4)
    model.push_to_hub("user/repository", base_model="openai/clip-vit-base-patch32")
    for file in pushed.iterdir():
        assert str(openai_clip).encode() not in file.read_bytes(), file.name


def test_a_push_leaves_the_model_here_as_it_was(openai_clip: Path, pushed: Path) -> None:
    model = CoOpForImageClassification.from_backbone(openai_clip, class_names=NAMES, n_ctx=4)
    for way_out in ({"base_model": "openai/clip-vit-base-patch32"}, {"save_backbone": True}):
        model.push_to_hub("user/repository", **way_out)
        assert model.config.weights_scope == "prompt"
        assert model.config.base_model_name_or_path == str(openai_clip)


def test_loading_info_names_nothing_missing(saved: Path) -> None:
    _, info = CoOpForImageClassification.from_pretrained(saved, output_loading_info=True)
    assert not any(info.values())


def test_a_backbone_without_processor_makes_a_checkpoint_without_one(openai_clip: Path, tmp_path: Path) -> None:
    """A tokenizer passed by the user is enough; the image processor may be nowhere."""
    shutil.copytree(openai_clip, tmp_path / "backbone")
    (tmp_path / "backbone" / "preprocessor_config.json").unlink()
    donor = CoOpForImageClassification.from_backbone(openai_clip, class_names=NAMES)
    model = CoOpForImageClassification.from_backbone(
        tmp_path / "backbone", class_names=NAMES, tokenizer=donor.processor.tokenizer
    )
    model.save_pretrained(tmp_path / "saved")
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path / "saved")
    loaded.save_pretrained(tmp_path / "again")
    assert {file.name for file in (tmp_path / "again").iterdir()} == {"config.json", "model.safetensors"}
    with pytest.raises(ValueError, match="tokenizer=") as error:
        loaded.set_classes(["bird"])
    assert "processor" in str(error.value)
    loaded.set_classes(["bird"], tokenizer=donor.processor)


def test_the_backbones_own_folder_is_not_saved_into(modern_clip: Path, tmp_path: Path) -> None:
    backbone = tmp_path / "backbone"
    shutil.copytree(modern_clip, backbone)
    model = CoOpForImageClassification.from_backbone(backbone, ["cat", "dog"])
    for save_backbone in (False, True):
        with pytest.raises(ValueError, match="folder of the backbone"):
            model.save_pretrained(backbone, save_backbone=save_backbone)
    CoOpForImageClassification.from_backbone(backbone, ["cat", "dog"])


def test_a_half_precision_model_is_loaded_as_it_was_saved(modern_clip: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone(modern_clip, ["cat", "dog"], dtype=torch.bfloat16)
    model.save_pretrained(tmp_path)
    loaded = CoOpForImageClassification.from_pretrained(tmp_path)
    assert loaded.clip.dtype == torch.bfloat16
    pixels = torch.randn(2, 3, 224, 224, dtype=torch.bfloat16)
    with torch.no_grad():
        assert torch.equal(loaded(pixels).logits, model(pixels).logits)
