"""CLIPs of OpenAI's code and of open_clip become models of transformers with the same features."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoModel, AutoProcessor, AutoTokenizer, CLIPModel, MetaClip2Model

from hf_prompt_cli.commands.convert import main
from hf_prompt_models.backbones.clip_resnet import ClipResNetModel
from tests.backbones.original_clip import (
    EMBED_DIM,
    RESNET,
    TEXT,
    VISION,
    VOCABULARY,
    Tensors,
    encode_image,
    encode_image_by_resnet,
    encode_text,
    random_clip,
    with_scalars,
    write_archive,
    write_open_clip,
)


MODEL: dict[str, Any] = {"embed_dim": EMBED_DIM, "vision_cfg": VISION, "text_cfg": TEXT}


def convert(checkpoint: Path, output_dir: Path, *flags: object) -> None:
    main(["clip", "--checkpoint", str(checkpoint), "--output_dir", str(output_dir), *map(str, flags)])


def refused(checkpoint: Path, output_dir: Path, *flags: object) -> str:
    """Return the message with which a checkpoint is refused, and check that nothing was written."""
    with pytest.raises(SystemExit) as stop:
        convert(checkpoint, output_dir, *flags)
    assert not output_dir.exists()
    return str(stop.value.code)


def half(tensors: Tensors) -> Tensors:
    return {name: each.half() if each.is_floating_point() else each for name, each in tensors.items()}


def check_features(
    folder: Path,
    tensors: Tensors,
    activation: str,
    heads: tuple[int | None, int] = (2, 1),
    eos_id: int | None = None,
    image_size: int = 32,
) -> None:
    """Compare the features of a converted folder with those of the original code, for images and texts."""
    model = AutoModel.from_pretrained(folder).eval()
    assert model.dtype == torch.float32
    pixels, ids = torch.randn(3, 3, image_size, image_size), torch.randint(3, VOCABULARY, (4, TEXT["context_length"]))
    if eos_id is not None:
        ids[:, 7] = ids[:, 12] = eos_id
    with torch.no_grad():
        image_features = model.get_image_features(pixels).pooler_output
        text_features = model.get_text_features(ids).pooler_output
    if heads[0] is None:
        expected = encode_image_by_resnet(tensors, pixels)
    else:
        expected = encode_image(tensors, pixels, heads[0], activation)
    torch.testing.assert_close(image_features, expected, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        text_features, encode_text(tensors, ids, heads[1], activation, eos_id), rtol=1e-5, atol=1e-5
    )
    torch.testing.assert_close(model.logit_scale, tensors["logit_scale"].float().reshape(()))


# -- OpenAI's files --------------------------------------------------------------------------------------------------


def test_openais_archive_gives_its_features(openai_clip: Path, tmp_path: Path, capsys: Any) -> None:
    tensors = half(random_clip())
    file = write_archive(tmp_path / "ViT.pt", with_scalars(tensors))
    convert(file, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu")
    printed = capsys.readouterr().out
    assert "quick_gelu" in printed
    assert "float16" in printed
    assert printed.endswith(f"wrote {tmp_path / 'out'}\n")


def test_openais_numbers_may_be_plain_attributes_of_the_archive(openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip()
    file = write_archive(tmp_path / "ViT.pt", tensors, input_resolution=32, context_length=20, vocab_size=VOCABULARY)
    convert(file, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu")


@pytest.mark.parametrize(
    "kind", ["state dict", "training checkpoint", "parallel", "before PyTorch 1.6", "safetensors"]
)
def test_a_state_dict_gives_its_features(kind: str, openai_clip: Path, tmp_path: Path) -> None:
    tensors = half(random_clip())
    content, file = with_scalars(tensors), tmp_path / "model.pt"
    match kind:
        case "state dict":
            torch.save(content, file)
        case "training checkpoint":
            torch.save({"epoch": 3, "name": "run", "state_dict": content, "optimizer": {"state": {}}}, file)
        case "parallel":
            torch.save({f"module.{name}": each for name, each in content.items()}, file)
        case "before PyTorch 1.6":
            torch.save(content, file, _use_new_zipfile_serialization=False)
        case "safetensors":
            file = file.with_suffix(".safetensors")
            save_file(content, file)
    convert(file, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu")


@pytest.mark.parametrize("activation", ["quick_gelu", "gelu"])
def test_the_activation_of_other_state_dicts_must_be_given(
    activation: str, openai_clip: Path, tmp_path: Path, capsys: Any
) -> None:
    tensors = random_clip()
    torch.save(tensors, tmp_path / "model.pt")
    message = refused(tmp_path / "model.pt", tmp_path / "out", "--tokenizer", openai_clip)
    assert "model.pt does not record its activation" in message
    assert "Pass --activation quick_gelu or --activation gelu." in message
    convert(tmp_path / "model.pt", tmp_path / "out", "--tokenizer", openai_clip, "--activation", activation)
    check_features(tmp_path / "out", tensors, activation)
    assert ("quick_gelu" in capsys.readouterr().out) == (activation == "quick_gelu")


@pytest.mark.parametrize("name", ["attn_mask", "transformer.resblocks.0.attn_mask", "visual.position_ids"])
def test_tensors_that_follow_from_the_sizes_are_passed_over(name: str, openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip()
    torch.save(with_scalars(tensors) | {name: torch.ones(20, 20)}, tmp_path / "model.pt")
    convert(tmp_path / "model.pt", tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu")


@pytest.mark.parametrize("width", [1280, 48])
def test_heads_that_no_shape_shows_are_not_guessed(width: int, openai_clip: Path, tmp_path: Path) -> None:
    torch.save(random_clip(VISION | {"width": width, "layers": 1}), tmp_path / "model.pt")
    message = refused(tmp_path / "model.pt", tmp_path / "out", "--activation", "gelu")
    assert "does not record the number of attention heads of a tower" in message
    assert "open_clip_config.json" in message


# -- folders of open_clip --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("quick", [None, False, True])
@pytest.mark.parametrize("safe", [True, False])
def test_open_clips_activation_is_the_one_in_its_configuration(
    quick: bool | None, safe: bool, openai_clip: Path, tmp_path: Path, capsys: Any
) -> None:
    tensors, activation = random_clip(), "quick_gelu" if quick else "gelu"
    folder = write_open_clip(
        tmp_path / "vit.openai", tensors, MODEL | ({} if quick is None else {"quick_gelu": quick}), safe=safe
    )
    convert(folder, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, activation)
    printed = capsys.readouterr().out
    assert activation in printed
    assert ("quick_gelu" in printed) == (quick is True)


def test_the_only_file_of_weights_in_a_folder_is_read(openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip()
    (tmp_path / "folder").mkdir()
    write_archive(tmp_path / "folder" / "ViT.pt", with_scalars(tensors))
    convert(tmp_path / "folder", tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu")


def test_the_file_of_weights_may_be_named_instead_of_its_folder(openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip()
    folder = write_open_clip(tmp_path / "folder", tensors, MODEL, safe=False)
    convert(folder / "open_clip_pytorch_model.bin", tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "gelu")


def test_an_activation_that_is_given_replaces_the_one_of_the_configuration(openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip()
    folder = write_open_clip(tmp_path / "folder", tensors, MODEL)
    convert(folder, tmp_path / "out", "--tokenizer", openai_clip, "--activation", "quick_gelu")
    check_features(tmp_path / "out", tensors, "quick_gelu")


def test_heads_and_widths_are_those_of_the_configuration(openai_clip: Path, tmp_path: Path) -> None:
    vision = VISION | {"width": 96, "head_width": 24, "mlp_ratio": 4.9231, "patch_size": 14, "image_size": 60}
    text = TEXT | {"width": 48, "heads": 3, "mlp_ratio": 2.5}
    tensors = random_clip(vision, text)
    folder = write_open_clip(tmp_path / "folder", tensors, MODEL | {"vision_cfg": vision, "text_cfg": text})
    convert(folder, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "gelu", heads=(4, 3), image_size=60)
    config = AutoModel.from_pretrained(tmp_path / "out").config
    assert config.vision_config.intermediate_size == int(96 * 4.9231)
    assert config.text_config.intermediate_size == 120


def test_a_text_tower_of_its_own_is_read(openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip(prefix="text.") | {"logit_scale": torch.tensor([2.5]), "text.attn_mask": torch.ones(20, 20)}
    folder = write_open_clip(tmp_path / "folder", tensors, MODEL | {"custom_text": True})
    convert(folder, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "gelu")


def test_a_text_tower_read_at_the_first_end_token_is_metaclips(metaclip2: Path, tmp_path: Path) -> None:
    text = TEXT | {"pool_type": "eos", "eos_id": 2}
    tensors = random_clip(text=text)
    folder = write_open_clip(tmp_path / "folder", tensors, MODEL | {"text_cfg": text, "quick_gelu": True})
    convert(folder, tmp_path / "out", "--tokenizer", metaclip2)
    assert isinstance(AutoModel.from_pretrained(tmp_path / "out"), MetaClip2Model)
    check_features(tmp_path / "out", tensors, "quick_gelu", eos_id=2)


# -- ResNets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["archive", "state dict"])
def test_openais_resnet_gives_its_features(kind: str, openai_clip: Path, tmp_path: Path, capsys: Any) -> None:
    tensors = half(random_clip(RESNET))
    content = with_scalars(tensors, image_size=64)
    if kind == "archive":
        write_archive(tmp_path / "RN.pt", content)
    else:
        torch.save(content, tmp_path / "RN.pt")
    convert(tmp_path / "RN.pt", tmp_path / "out", "--tokenizer", openai_clip)
    assert isinstance(AutoModel.from_pretrained(tmp_path / "out"), ClipResNetModel)
    check_features(tmp_path / "out", tensors, "quick_gelu", heads=(None, 1), image_size=64)
    assert "ResNet of 1 + 2 + 1 + 1 blocks, width 8" in capsys.readouterr().out
    processor = AutoProcessor.from_pretrained(tmp_path / "out")
    assert processor(images=Image.new("RGB", (90, 70)), text="a cat").pixel_values[0].shape == (3, 64, 64)


@pytest.mark.parametrize("quick", [True, False])
def test_open_clips_resnet_gives_its_features(quick: bool, openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip(RESNET)
    model = {"embed_dim": EMBED_DIM, "vision_cfg": RESNET, "text_cfg": TEXT, "quick_gelu": quick}
    convert(write_open_clip(tmp_path / "resnet.openai", tensors, model), tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu" if quick else "gelu", heads=(None, 1), image_size=64)
    read = AutoModel.from_pretrained(tmp_path / "out").state_dict()
    assert read["vision_model.embeddings.conv1.normalization.num_batches_tracked"] == 17


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"visual.layer2.1.bn3.running_var": None}, "it lacks visual.layer2.1.bn3.running_var"),
        (
            {"visual.layer2.1.downsample.0.weight": torch.ones(1)},
            "it has the unknown visual.layer2.1.downsample.0.weight",
        ),
        ({"visual.attnpool.c_proj.weight": torch.ones(24, 8)}, "c_proj.weight is (24, 8), not (24, 256)"),
        ({"visual.bn1.num_batches_tracked": torch.tensor(1.0)}, "of another kind of numbers: visual.bn1.num_batches"),
        ({"visual.attnpool.positional_embedding": torch.ones(3, 256)}, "is (3, 256), not (2, 256)"),
    ],
)
def test_other_tensors_of_a_resnet_are_refused(
    change: dict[str, torch.Tensor | None], said: str, openai_clip: Path, tmp_path: Path
) -> None:
    content = with_scalars(random_clip(RESNET), image_size=64) | change
    torch.save({name: each for name, each in content.items() if each is not None}, tmp_path / "RN.pt")
    assert said in refused(tmp_path / "RN.pt", tmp_path / "out", "--tokenizer", openai_clip)


# -- the folder ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("files", [("tokenizer.json", "tokenizer_config.json"), ("vocab.json", "merges.txt")])
def test_tokenizer_files_next_to_the_checkpoint_are_taken_over(
    files: tuple[str, ...], openai_clip: Path, tmp_path: Path
) -> None:
    file = write_archive(tmp_path / "ViT.pt", with_scalars(random_clip()))
    assert "There are no tokenizer files" in refused(file, tmp_path / "out")
    for name in files:
        shutil.copy(openai_clip / name, tmp_path)
    (tmp_path / "config.json").write_text('{"architecture": "vit_base_patch32_clip_224"}')  # as in timm's repositories
    convert(file, tmp_path / "out")
    expected = AutoTokenizer.from_pretrained(openai_clip)
    text = "a photo of the cat, a dog."
    for load in (AutoTokenizer, AutoProcessor):
        loaded = load.from_pretrained(tmp_path / "out")
        assert loaded(text=text)["input_ids"] in (expected(text)["input_ids"], [expected(text)["input_ids"]])
    assert AutoTokenizer.from_pretrained(tmp_path / "out").model_max_length == TEXT["context_length"]


def test_a_tokenizer_of_more_tokens_than_the_model_has_is_refused(openai_clip: Path, tmp_path: Path) -> None:
    text = TEXT | {"vocab_size": VOCABULARY - 1}
    file = write_archive(tmp_path / "ViT.pt", with_scalars(random_clip(text=text), text))
    message = refused(file, tmp_path / "out", "--tokenizer", openai_clip)
    assert f"has {VOCABULARY} tokens, and the model only {VOCABULARY - 1}" in message


def test_a_width_that_is_no_multiple_of_64_has_the_heads_of_the_original_code(
    openai_clip: Path, tmp_path: Path
) -> None:
    tensors = random_clip(VISION | {"width": 150})
    torch.save(with_scalars(tensors), tmp_path / "model.pt")
    convert(tmp_path / "model.pt", tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu", heads=(2, 1))


def test_the_folder_is_complete_and_runs_in_float32(openai_clip: Path, tmp_path: Path) -> None:
    write_archive(tmp_path / "ViT.pt", with_scalars(half(random_clip())))
    convert(tmp_path / "ViT.pt", tmp_path / "out", "--tokenizer", openai_clip)
    model, report = CLIPModel.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not any(report.values())
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert AutoImageProcessor.from_pretrained(tmp_path / "out").crop_size["height"] == 32


def test_the_folder_of_the_checkpoint_is_not_overwritten(openai_clip: Path, tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "folder", random_clip(), MODEL)
    with pytest.raises(SystemExit, match="is the folder of the checkpoint itself"):
        convert(folder, folder, "--tokenizer", openai_clip)


# -- what is refused -------------------------------------------------------------------------------------------------

BLOCK = "visual.transformer.resblocks.1."


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"ln_final.weight": None}, "it has no 'ln_final.weight'"),
        ({f"{BLOCK}attn.in_proj_bias": None}, f"it lacks {BLOCK}attn.in_proj_bias"),
        ({"visual.proj": None}, "it lacks visual.proj"),
        ({"extra.weight": torch.ones(2)}, "it has the unknown extra.weight"),
        (
            {"transformer.resblocks.1.ls_1.gamma": torch.ones(64)},
            "it has the unknown transformer.resblocks.1.ls_1.gamma",
        ),
        (
            {"visual.positional_embedding": torch.ones(16, 128)},
            "visual.positional_embedding is (16, 128), not (17, 128)",
        ),
        ({f"{BLOCK}mlp.c_fc.weight": torch.ones(512, 64)}, f"{BLOCK}mlp.c_fc.weight is (512, 64), not (512, 128)"),
        ({"ln_final.bias": torch.ones(64, dtype=torch.long)}, "of another kind of numbers: ln_final.bias"),
        ({"visual.conv1.weight": torch.ones(128)}, "is damaged"),
        ({"logit_bias": torch.tensor(-10.0)}, "it has the unknown logit_bias"),
    ],
)
def test_missing_unknown_and_misshapen_tensors_are_refused(
    change: dict[str, torch.Tensor | None], said: str, openai_clip: Path, tmp_path: Path
) -> None:
    tensors = {name: each for name, each in (with_scalars(random_clip()) | change).items() if each is not None}
    write_archive(tmp_path / "ViT.pt", tensors)
    message = refused(tmp_path / "ViT.pt", tmp_path / "out", "--tokenizer", openai_clip)
    assert str(tmp_path / "ViT.pt") in message
    assert said in message


@pytest.mark.parametrize(
    ("name", "family"),
    [
        ("text_decoder.resblocks.0.ln_1.weight", "CoCa"),
        ("visual.attn_pool.query", "CoCa"),
        ("visual.trunk.stem.0.weight", "ConvNeXt"),
        ("text.transformer.embeddings.word_embeddings.weight", "RoBERTa"),
        ("vision_model.post_layernorm.weight", "transformers' own names"),
    ],
)
def test_state_dicts_of_other_families_are_refused_by_name(name: str, family: str, tmp_path: Path) -> None:
    torch.save({name: torch.ones(2)}, tmp_path / "model.pt")
    message = refused(tmp_path / "model.pt", tmp_path / "out", "--activation", "gelu")
    assert family in message
    assert "model.pt" in message


def test_a_folder_of_another_family_is_refused_by_name_whatever_its_weights(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    model = {"embed_dim": 512, "vision_cfg": {"timm_model_name": "eva02_base_patch16_clip_224"}, "text_cfg": {}}
    (tmp_path / "folder" / "open_clip_config.json").write_text(json.dumps({"model_cfg": model}))
    assert "This model is of the family EVA" in refused(tmp_path / "folder", tmp_path / "out")


def test_openais_file_does_not_need_the_configuration_next_to_it(openai_clip: Path, tmp_path: Path) -> None:
    tensors = random_clip()
    file = write_archive(tmp_path / "ViT.pt", with_scalars(tensors))
    (tmp_path / "open_clip_config.json").write_text("{}")
    convert(file, tmp_path / "out", "--tokenizer", openai_clip)
    check_features(tmp_path / "out", tensors, "quick_gelu")


def test_a_configuration_of_other_sizes_is_refused(openai_clip: Path, tmp_path: Path) -> None:
    folder = write_open_clip(tmp_path / "folder", random_clip(), MODEL | {"text_cfg": TEXT | {"layers": 3}})
    message = refused(folder, tmp_path / "out", "--tokenizer", openai_clip)
    assert "it lacks transformer.resblocks.2." in message


def test_a_configuration_of_absurd_sizes_is_refused_without_memory(openai_clip: Path, tmp_path: Path) -> None:
    for change in ({"layers": 10**6}, {"width": 2**24}, {"image_size": 2**24, "patch_size": 1}, {"width": 2**70}):
        folder = write_open_clip(tmp_path / "folder", random_clip(), MODEL | {"vision_cfg": VISION | change})
        assert "folder" in refused(folder, tmp_path / "out", "--tokenizer", openai_clip)


def test_files_that_are_cut_off_or_are_no_weights_are_refused_by_name(openai_clip: Path, tmp_path: Path) -> None:
    whole = write_archive(tmp_path / "whole.pt", with_scalars(random_clip())).read_bytes()
    safe = write_open_clip(tmp_path / "folder", random_clip(), MODEL) / "open_clip_model.safetensors"
    content = {
        "cut.pt": whole[: len(whole) // 2],
        "cut.safetensors": safe.read_bytes()[:5000],
        "empty.pt": b"",
        "text.pt": b"<html>Not found</html>",
        "list.pt": None,
        "names.pt": None,
    }
    torch.save([torch.ones(2)], tmp_path / "list.pt")
    torch.save({"weights": [torch.ones(2)]}, tmp_path / "names.pt")
    for name, data in content.items():
        if data is not None:
            (tmp_path / name).write_bytes(data)
        message = refused(tmp_path / name, tmp_path / "out", "--tokenizer", openai_clip, "--activation", "gelu")
        assert name in message, name
    for name in ("absent.pt", "absent/folder"):
        assert f"There is no file or folder {tmp_path / name}" in refused(tmp_path / name, tmp_path / "out")
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "open_clip_config.json").write_text(json.dumps({"model_cfg": MODEL}))
    assert "nothing' contains no weights" in refused(tmp_path / "nothing", tmp_path / "out")
    for name in ("a.pt", "b.pt"):
        (tmp_path / "nothing" / name).write_bytes(whole)
    assert "contains 2 files of weights (a.pt, b.pt). Pass one" in refused(tmp_path / "nothing", tmp_path / "out")
