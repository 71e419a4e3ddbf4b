"""Checkpoints of the original CoOp code give the same logits as this code, and are converted back unchanged."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForImageClassification, CLIPModel, CLIPTokenizer, pipeline

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from hf_prompt_models.checkpoints.dassl_checkpoints import find_dassl_file, read_dassl_checkpoint
from hf_prompt_models.models.coop.convert_coop import convert_from_original, convert_to_original
from tests.full_length_reference import coop_logits
from tests.models.coop.original_coop import original_buffers, write_original


NAMES = ["the cat", "dog", "sea_or_lake", "kite (bird of prey)", "cat", "dog"]
POSITIONS = ("end", "middle", "front")
WIDTH = 32


def new_context(*shape: int, dtype: torch.dtype = torch.float16) -> torch.Tensor:
    return (torch.randn(*shape, WIDTH) * 0.5).to(dtype)


def reference_logits(folder: Path, names: list[str], context: torch.Tensor, position: str) -> tuple[Any, torch.Tensor]:
    images = torch.randn(8, 24)
    clip, tokenizer = CLIPModel.from_pretrained(folder), CLIPTokenizer.from_pretrained(folder)
    return images, coop_logits(clip, tokenizer, names, context.float(), position, images)


# -- from the original -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(3,), (len(NAMES), 4)])
@pytest.mark.parametrize("position", POSITIONS)
@pytest.mark.parametrize(
    ("backbone", "dtype"),
    [("openai_clip", torch.float16), ("openai_clip", torch.float32), ("modern_clip", torch.float16)],
)
def test_a_converted_prompt_gives_the_logits_of_77_token_encoding(
    backbone: str,
    position: str,
    shape: tuple[int, ...],
    dtype: torch.dtype,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    folder, context = request.getfixturevalue(backbone), new_context(*shape, dtype=dtype)
    file = write_original(tmp_path / "run", folder, NAMES, context)
    assert "dassl" not in sys.modules
    convert_from_original(file, folder, NAMES, position, tmp_path / "converted")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "converted")
    assert model.config.class_names == NAMES
    assert model.config.class_specific_context == (len(shape) == 2)
    assert model.context.dtype == torch.float32
    assert torch.equal(model.context, context.float())
    images, expected = reference_logits(folder, NAMES, context, position)
    torch.testing.assert_close(model(image_embeds=images).logits, expected, rtol=0, atol=1e-4)


def test_a_converted_folder_is_complete_for_a_pipeline(openai_clip: Path, tmp_path: Path) -> None:
    from PIL import Image

    file = write_original(tmp_path / "run", openai_clip, NAMES[:3], new_context(2))
    convert_from_original(file, openai_clip, NAMES[:3], output_dir=tmp_path / "converted")
    predictions = pipeline("image-classification", model=str(tmp_path / "converted"))(
        Image.new("RGB", (40, 30), "red")
    )
    assert {prediction["label"] for prediction in predictions} == set(NAMES[:3])


def test_the_report_lists_what_was_read(openai_clip: Path, tmp_path: Path) -> None:
    file = write_original(tmp_path / "run", openai_clip, NAMES, new_context(4), extra=torch.zeros(1))
    _, report = convert_from_original(file, openai_clip, NAMES)
    text = "\n".join(report)
    assert f"read {file}, epoch 50" in text
    assert "ctx: 4 x 32, float16, shared" in text
    assert "token_prefix: fits" in text
    assert "token_suffix: fits" in text
    assert "left out: optimizer, scheduler, val_result, extra" in text


def test_a_model_in_parallel_is_read_without_its_prefix(openai_clip: Path, tmp_path: Path) -> None:
    context = new_context(3)
    prefix, suffix = original_buffers(openai_clip, NAMES, 3)
    changes: dict[str, Any] = {"module.ctx": context, "module.token_prefix": prefix, "module.token_suffix": suffix}
    file = write_original(
        tmp_path / "run",
        openai_clip,
        NAMES,
        context,
        **changes,
        **dict.fromkeys(("ctx", "token_prefix", "token_suffix")),
    )
    model, report = convert_from_original(file, openai_clip, NAMES)
    assert torch.equal(model.context, context.float())
    assert any("token_suffix: fits" in line for line in report)


def test_without_buffers_the_report_lists_that_nothing_could_be_checked(openai_clip: Path, tmp_path: Path) -> None:
    file = write_original(tmp_path, openai_clip, NAMES, new_context(3), token_prefix=None, token_suffix=None)
    _, report = convert_from_original(file, openai_clip, NAMES)
    assert sum("it cannot be checked" in line for line in report) == 2


@pytest.mark.parametrize(("n_ctx", "words"), [(3, "the of photo ot"), (2, "photo z.z"), (1, "do-do-do")])
def test_tokens_that_the_original_left_untrained_are_kept(
    n_ctx: int, words: str, openai_clip: Path, tmp_path: Path
) -> None:
    """Words of several tokens make fewer vectors than tokens there; the others stand frozen before each name."""
    context = new_context(n_ctx, dtype=torch.float32)
    tokenizer = CLIPTokenizer.from_pretrained(openai_clip)
    ids = tokenizer(words, add_special_tokens=False)["input_ids"]
    frozen = tokenizer.decode(ids[n_ctx:])
    assert tokenizer(frozen, add_special_tokens=False)["input_ids"] == ids[n_ctx:]
    file = write_original(tmp_path / "run", openai_clip, NAMES, context, words=words)
    model, report = convert_from_original(file, openai_clip, NAMES, output_dir=tmp_path / "converted")
    assert model.config.n_ctx == len(ids)
    assert any(f"after {len(ids) - n_ctx} token(s)" in line for line in report)
    images, expected = reference_logits(openai_clip, [f"{frozen} {name}" for name in NAMES], context, "end")
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "converted")
    torch.testing.assert_close(model(image_embeds=images).logits, expected, rtol=0, atol=1e-4)
    with pytest.raises(ValueError, match="only for the position 'end'"):
        convert_from_original(file, openai_clip, NAMES, "middle")


def test_different_words_before_the_names_are_other_classes_not_untrained_tokens(
    openai_clip: Path, tmp_path: Path
) -> None:
    file = write_original(tmp_path / "run", openai_clip, ["the cat", "photo dog"], new_context(3))
    model, report = convert_from_original(file, openai_clip, ["cat", "dog"])
    assert model.config.n_ctx == 3
    assert any("for other classes (class 0 is 'the cat .'" in line for line in report)


# -- what does not fit -----------------------------------------------------------------------------------------------


def test_another_backbone_is_refused_though_its_width_agrees(
    openai_clip: Path, other_clip: Path, wider_clip: Path, tmp_path: Path
) -> None:
    file = write_original(tmp_path / "run", openai_clip, NAMES, new_context(3))
    with pytest.raises(ValueError, match=r"another backbone than .*clip-other.*start token"):
        convert_from_original(file, other_clip, NAMES, output_dir=tmp_path / "converted")
    with pytest.raises(ValueError, match=r"32 numbers, but the text encoder of .*clip-wider.* has 64"):
        convert_from_original(file, wider_clip, NAMES, output_dir=tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_other_classes_are_reported_for_shared_context_and_refused_of_class_specific(
    openai_clip: Path, tmp_path: Path
) -> None:
    shared = write_original(tmp_path / "shared", openai_clip, NAMES, new_context(3))
    specific = write_original(tmp_path / "specific", openai_clip, NAMES, new_context(len(NAMES), 3))
    swapped = [*NAMES[:1], NAMES[2], NAMES[1], *NAMES[3:]]
    model, report = convert_from_original(shared, openai_clip, swapped)
    assert model.config.class_names == swapped
    assert any("class 1 is 'dog .' in the file, but 'sea or lake .' here" in line for line in report)
    _, report = convert_from_original(shared, openai_clip, NAMES[:2])
    assert any("the file has 6 classes, got 2 class names" in line for line in report)
    with pytest.raises(ValueError, match=r"class 1 is 'dog \.' in the file, but 'sea or lake \.' here"):
        convert_from_original(specific, openai_clip, swapped)
    with pytest.raises(ValueError, match="for 6 classes, got 5"):
        convert_from_original(specific, openai_clip, NAMES[:5])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ctx": None}, "it contains no 'ctx', but token_prefix, token_suffix"),
        ({"meta_net.linear1.weight": torch.zeros(2, 2)}, "CoCoOp"),
        ({"prompt_learner.compound_prompts_text.0": torch.zeros(2, 2)}, "MaPLe"),
        ({"ctx": torch.full((3, WIDTH), torch.nan)}, "NaN"),
        ({"ctx": torch.full((3, WIDTH), torch.inf)}, "infinity"),
        ({"ctx": torch.zeros(WIDTH)}, "n_ctx, width"),
        ({"ctx": torch.zeros(1, 1, 3, WIDTH)}, "n_ctx, width"),
        ({"ctx": torch.zeros(0)}, "n_ctx, width"),
        ({"ctx": torch.zeros(3, WIDTH, dtype=torch.long)}, "floating-point"),
        ({"ctx": torch.zeros(70, WIDTH)}, "too long"),
        (
            {"ctx": torch.zeros(4, WIDTH)},
            "'token_suffix' in .* has the shape .6, 73, 32. instead of .classes, 72, 32.",
        ),
        ({"token_prefix": torch.zeros(6, 2, WIDTH)}, "'token_prefix' in .* has the shape"),
        ({"token_suffix": torch.zeros(6, WIDTH)}, "'token_suffix' in .* has the shape"),
        ({"ctx": "no tensor"}, "no state_dict of tensors"),
    ],
)
def test_what_is_no_prompt_of_coop_is_refused(
    changes: dict[str, Any], message: str, openai_clip: Path, tmp_path: Path
) -> None:
    file = write_original(tmp_path / "run", openai_clip, NAMES, new_context(3), **changes)
    with pytest.raises(ValueError, match=message):
        convert_from_original(file, openai_clip, NAMES, output_dir=tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_an_attack_instead_of_a_tensor_does_nothing(openai_clip: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "mark"),)

    file = write_original(tmp_path / "run", openai_clip, NAMES, new_context(3), ctx=Attack())
    with pytest.raises(ValueError, match=r"none of its code was run: it needs 'posix\.mkdir'"):
        convert_from_original(file, openai_clip, NAMES)
    assert not (tmp_path / "mark").exists()


# -- which file ------------------------------------------------------------------------------------------------------


def test_a_folder_means_the_file_that_it_names_the_epoch_asked_for_or_the_best(
    openai_clip: Path, tmp_path: Path
) -> None:
    first, last = (write_original(tmp_path, openai_clip, NAMES, new_context(2), epoch=epoch) for epoch in (10, 50))
    folder = tmp_path / "prompt_learner"
    for path in (tmp_path, folder):
        assert find_dassl_file(path, "prompt_learner") == last
        assert find_dassl_file(path, "prompt_learner", epoch=10) == first
    with pytest.raises(FileNotFoundError, match=r"no model\.pth\.tar-7 in .*model\.pth\.tar-10, model\.pth\.tar-50"):
        find_dassl_file(tmp_path, "prompt_learner", epoch=7)
    assert find_dassl_file(last, "prompt_learner", epoch=50) == last
    with pytest.raises(ValueError, match="not named as the file of epoch 5"):
        find_dassl_file(last, "prompt_learner", epoch=5)
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        find_dassl_file(tmp_path / "missing", "prompt_learner")
    for name in ("../model.pth.tar-50", "/etc/passwd", ""):
        (folder / "checkpoint").write_text(name + "\n")
        with pytest.raises(ValueError, match="does not name a checkpoint"):
            find_dassl_file(tmp_path, "prompt_learner")
    (folder / "checkpoint").unlink()
    with pytest.raises(FileNotFoundError, match=r"no model-best\.pth\.tar"):
        find_dassl_file(tmp_path, "prompt_learner")
    first.rename(folder / "model-best.pth.tar")
    assert find_dassl_file(tmp_path, "prompt_learner").name == "model-best.pth.tar"


# -- to the original -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("position", POSITIONS)
def test_there_and_back_is_the_same(position: str, class_specific: bool, openai_clip: Path, tmp_path: Path) -> None:
    model = CoOpForImageClassification.from_backbone(
        openai_clip, NAMES, n_ctx=3, class_token_position=position, class_specific_context=class_specific
    )
    model.save_pretrained(tmp_path / "ours")
    file = convert_to_original(tmp_path / "ours", tmp_path / "original", epoch=7)
    assert file == tmp_path / "original" / "prompt_learner" / "model.pth.tar-7"
    _, report = convert_from_original(tmp_path / "original", openai_clip, NAMES, position, tmp_path / "back")
    assert sum("fits" in line for line in report) == 2
    again = CoOpForImageClassification.from_pretrained(tmp_path / "back")
    assert torch.equal(again.context, model.context)
    assert again.config.to_dict() == CoOpForImageClassification.from_pretrained(tmp_path / "ours").config.to_dict()
    assert convert_to_original(tmp_path / "back", tmp_path / "twice").read_bytes() == file.read_bytes()


def test_an_original_file_comes_back_with_its_values(openai_clip: Path, tmp_path: Path) -> None:
    file = write_original(tmp_path / "run", openai_clip, NAMES, new_context(3), epoch=200)
    convert_from_original(file, openai_clip, NAMES, output_dir=tmp_path / "ours")
    back = convert_to_original(tmp_path / "ours", tmp_path / "back")
    assert back.name == "model.pth.tar-200"
    one, other = read_dassl_checkpoint(file).state_dict, read_dassl_checkpoint(back).state_dict
    assert {name: tensor.shape for name, tensor in one.items()} == {
        name: tensor.shape for name, tensor in other.items()
    }
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name].to(tensor.dtype)), name


def test_a_written_file_loads_as_the_original_code_loads_it(openai_clip: Path, tmp_path: Path) -> None:
    """`trainers/coop.py`, load_model, with torch's own loading in its strictest form."""
    CoOpForImageClassification.from_backbone(openai_clip, NAMES, n_ctx=3).save_pretrained(tmp_path / "ours")
    convert_to_original(tmp_path / "ours", tmp_path / "original")
    folder = tmp_path / "original" / "prompt_learner"
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint", "model.pth.tar-50"]
    assert (folder / "checkpoint").read_text() == "model.pth.tar-50\n"
    loaded = torch.load(folder / "model.pth.tar-50", weights_only=True)
    assert {name: loaded[name] for name in ("epoch", "optimizer", "scheduler", "val_result")} == {
        "epoch": 50,
        "optimizer": None,
        "scheduler": None,
        "val_result": None,
    }
    learner = torch.nn.Module()
    learner.ctx = torch.nn.Parameter(torch.empty(3, WIDTH, dtype=torch.float16))
    prefix, suffix = original_buffers(openai_clip, NAMES, 3)
    learner.register_buffer("token_prefix", prefix)
    learner.register_buffer("token_suffix", suffix)
    assert torch.equal(loaded["state_dict"]["token_prefix"], prefix)
    assert torch.equal(loaded["state_dict"]["token_suffix"], suffix)
    learner.load_state_dict(loaded["state_dict"])
    ours = CoOpForImageClassification.from_pretrained(tmp_path / "ours").context
    assert torch.equal(learner.ctx, ours.half())


def test_only_a_coop_checkpoint_goes_to_the_original(openai_clip: Path, tmp_path: Path) -> None:
    ClipZeroShotForImageClassification.from_backbone(openai_clip, NAMES).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match="'clip_zero_shot' instead of CoOp"):
        convert_to_original(tmp_path / "other", tmp_path / "out")
    with pytest.raises(OSError, match="missing"):
        convert_to_original(tmp_path / "missing", tmp_path / "out")
    CoOpForImageClassification.from_backbone(openai_clip, NAMES).save_pretrained(tmp_path / "ours")
    (tmp_path / "ours" / "conversion.json").write_text(json.dumps({"epoch": "../../x"}))
    assert convert_to_original(tmp_path / "ours", tmp_path / "out").name == "model.pth.tar-50"
