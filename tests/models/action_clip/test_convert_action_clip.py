"""Checkpoints of the original ActionCLIP code and of mmaction2 give the same probabilities as these codes."""

import os
from argparse import Namespace
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForVideoClassification, AutoProcessor, CLIPTokenizer, pipeline

from hf_prompt_models import ActionClipForVideoClassification, ActionClipProcessor
from hf_prompt_models.models.action_clip.convert_action_clip import convert, convert_from_original
from hf_prompt_models.prompts.templates import ACTION_TEMPLATES
from tests.models.action_clip.clips import write_mp4
from tests.models.action_clip.original_action_clip import (
    DIM,
    IMAGE,
    VOCABULARY,
    WIDTH,
    Head,
    Original,
    write_backbone,
    write_mmaction2,
    write_original,
)
from tests.tested_method import random_image


NAMES = ["cat", "dog, the cat", "the photo of dog"]
FRAMES = 3


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_backbone(tmp_path_factory.mktemp("hub") / "clip")


def original_ids(backbone: Path, names: list[str]) -> torch.Tensor:
    """All names in the first template, then in the second, …, padded with 0 as OpenAI does."""
    tokenizer = CLIPTokenizer.from_pretrained(backbone)
    texts = [template.text.replace("{}", name) for template in ACTION_TEMPLATES for name in names]
    return torch.tensor([ids + [0] * (77 - len(ids)) for ids in tokenizer(texts)["input_ids"]])


def check_same_logits(folder: Path, original: Original, backbone: Path, frames: int = FRAMES) -> None:
    model = AutoModelForVideoClassification.from_pretrained(folder)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.float32}
    assert not model.training
    pixels = torch.randn(2, frames, 3, IMAGE, IMAGE, dtype=torch.float64)
    expected = original.logits(pixels, original_ids(backbone, NAMES), len(NAMES))
    with torch.no_grad():
        torch.testing.assert_close(model.double()(pixels).logits, expected, rtol=0, atol=1e-8)


def check_every_tensor_is_kept(folder: Path, original: Original, dropped: tuple[str, ...] = ()) -> None:
    """By its values, wherever it stands: as it is, transposed, or in thirds."""
    ours = load_file(folder / "model.safetensors")
    found = [*ours.values(), *(tensor.T for tensor in ours.values() if tensor.dim() == 2)]
    for name in ours:
        if ".q_proj." in name:
            found.append(torch.cat([ours[name.replace(".q_proj.", f".{part}_proj.")] for part in "qkv"]))
    values = {(tuple(tensor.shape), tensor.contiguous().numpy().tobytes()) for tensor in found}
    theirs = {**original.clip_state(), **original.head_state()}
    kept = {name: tensor.float() for name, tensor in theirs.items() if name not in dropped}
    assert len(kept) == len(theirs) - len(dropped)
    for name, tensor in kept.items():
        assert (tuple(tensor.shape), tensor.contiguous().numpy().tobytes()) in values, name
    assert sum(tensor.numel() for tensor in ours.values()) == sum(tensor.numel() for tensor in kept.values())


# -- the original code -----------------------------------------------------------------------------------------------

DEAD = "frame_position_embeddings.weight"
CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "meanP": ({"head": "meanP"}, {"post_network": "mean", "in_network": None, "num_frames": 8}),
    "meanP, shift": ({"head": "meanP", "shift": True}, {"post_network": "mean", "in_network": "shift"}),
    "Conv_1D": ({"head": "Conv_1D"}, {"post_network": "conv1d", "legacy_conv1d_layout": True, "num_frames": 8}),
    "LSTM": ({"head": "LSTM"}, {"post_network": "lstm", "num_frames": 8}),
    "Transf": (
        {"head": "Transf"},
        {
            "post_network": "transf",
            "num_frames": 8,
            "max_frames": 77,
            "head_num_layers": 2,
            "head_num_attention_heads": WIDTH // 64,
            "head_layer_norm_eps": 1e-12,
        },
    ),
    "Transf, shift": ({"head": "Transf", "shift": True, "layers": 1}, {"in_network": "shift", "head_num_layers": 1}),
    "Transf_cls": (
        {"head": "Transf_cls"},
        {"post_network": "transf_cls", "num_frames": FRAMES, "head_num_attention_heads": 8, "head_num_layers": 2},
    ),
    "joint": (
        {"head": "meanP", "joint": True},
        {"pre_network": "joint", "post_network": "mean", "num_frames": FRAMES},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_converted_folder_gives_the_originals_probabilities(case: str, backbone: Path, tmp_path: Path) -> None:
    choices, fields = CASES[case]
    original = Original(VOCABULARY, **choices)
    file = write_original(tmp_path / "model_best.pt", original)
    model, report = convert_from_original(file, backbone, NAMES, tmp_path / "converted")
    assert {name: getattr(model.config, name) for name in fields} == fields
    assert model.config.weights_scope == "full"
    assert model.config.class_names == NAMES
    check_same_logits(tmp_path / "converted", original, backbone)
    dead = choices["head"] in ("Conv_1D", "LSTM", "Transf_cls")
    check_every_tensor_is_kept(tmp_path / "converted", original, (f"module.{DEAD}",) if dead else ())
    text = "\n".join(report)
    assert text.startswith(f"read {file}: the layout of the original code, epoch 49\n")
    assert (f"dropped: '{DEAD}' of fusion_model_state_dict (77 x 24): the original code creates it" in text) == dead
    assert text.count("dropped") == dead
    assert "left out, because they are not weights of the model: optimizer_state_dict" in text
    assert "float16 and float32" in text
    assert "warning" not in text


@pytest.mark.parametrize("clip_prefix", ["", "module."])
@pytest.mark.parametrize("head_prefix", ["", "module."])
def test_the_prefix_of_a_model_in_parallel_is_read_past(
    clip_prefix: str, head_prefix: str, backbone: Path, tmp_path: Path
) -> None:
    original = Original(VOCABULARY)
    states = {
        "model_state_dict": original.clip_state(clip_prefix, half=not clip_prefix),
        "fusion_model_state_dict": original.head_state(head_prefix),
    }
    file = write_original(tmp_path / "vit.pt", original, **states, optimizer_state_dict=None, epoch=None)
    convert_from_original(file, backbone, NAMES, tmp_path / "converted")
    check_every_tensor_is_kept(tmp_path / "converted", original)


def test_a_converted_folder_is_complete_for_a_pipeline(backbone: Path, tmp_path: Path) -> None:
    file = write_original(tmp_path / "vit.pt", Original(VOCABULARY))
    model, _ = convert_from_original(file, backbone, NAMES, tmp_path / "converted", num_frames=4)
    pipe = pipeline("video-classification", model=str(tmp_path / "converted"))
    answers: list[dict[str, Any]] = pipe(
        str(write_mp4(tmp_path / "a clip.mp4", [random_image(seed) for seed in range(9)])), top_k=3
    )
    assert {answer["label"] for answer in answers} == set(NAMES)
    processor = AutoProcessor.from_pretrained(tmp_path / "converted")
    assert isinstance(processor, ActionClipProcessor)
    assert processor.image_processor.crop_size.height == IMAGE
    assert model.config.num_frames == 4
    assert str(backbone) not in (tmp_path / "converted" / "config.json").read_text()


# -- frames ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", ["meanP", "Conv_1D", "LSTM", "Transf"])
def test_the_number_of_frames_can_be_set(head: str, backbone: Path, tmp_path: Path) -> None:
    file = write_original(tmp_path / "vit.pt", Original(VOCABULARY, head))
    model, report = convert_from_original(file, backbone, NAMES, num_frames=16)
    assert model.config.num_frames == 16
    assert "frames: 16, as requested" in "\n".join(report)
    _, report = convert_from_original(file, backbone, NAMES)
    assert "frames: 8, which the checkpoint does not contain" in "\n".join(report)


@pytest.mark.parametrize(
    ("choices", "wanted", "message"),
    [
        ({"head": "Transf_cls"}, 4, r"transformer\.pos_embed' of fusion_model_state_dict in .* 3 frames, not for 4"),
        ({"head": "meanP", "joint": True}, 2, r"time_embedding' of model_state_dict in .* for 3 frames, not for 2"),
        ({"head": "Transf"}, 78, "at most 77 frames, but --num_frames is 78"),
        ({"head": "Transf"}, 0, "at least 1, got 0"),
    ],
)
def test_a_number_of_frames_that_the_head_does_not_take_is_refused(
    choices: dict[str, Any], wanted: int, message: str, backbone: Path, tmp_path: Path
) -> None:
    file = write_original(tmp_path / "vit.pt", Original(VOCABULARY, **choices))
    with pytest.raises(ValueError, match=message):
        convert_from_original(file, backbone, NAMES, tmp_path / "converted", num_frames=wanted)
    assert not (tmp_path / "converted").exists()


# -- mmaction2 -------------------------------------------------------------------------------------------------------


def mmaction2_model(frames: int = FRAMES) -> Original:
    return Original(VOCABULARY, "Transf", positions=frames, eps=1e-5)


def test_a_model_of_mmaction2_gives_its_probabilities(backbone: Path, tmp_path: Path) -> None:
    original = mmaction2_model()
    file = write_mmaction2(tmp_path / "epoch_50.pth", original)
    model, report = convert_from_original(file, backbone, NAMES, tmp_path / "converted")
    assert (model.config.num_frames, model.config.max_frames) == (FRAMES, FRAMES)
    assert model.config.head_layer_norm_eps == 1e-5
    check_same_logits(tmp_path / "converted", original, backbone)
    check_every_tensor_is_kept(tmp_path / "converted", original)
    text = "\n".join(report)
    assert f"read {file}: the layout of mmaction2, epoch 50" in text
    assert f"frames: {FRAMES}, from the checkpoint" in text
    assert "left out, because they are not weights of the model: meta" in text
    with pytest.raises(ValueError, match=r"'adapter\.frame_position_embeddings\.weight' in .* for at most 3 frames"):
        convert_from_original(file, backbone, NAMES, num_frames=4)


def test_what_mmengine_keeps_next_to_the_weights_is_left_out(backbone: Path, tmp_path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.AdamW([parameter])
    parameter.sum().backward()
    optimizer.step()
    hub = {"log_scalars": OrderedDict(loss=np.zeros(50)), "runtime_info": OrderedDict(epoch=3, best=np.float64(0.8))}
    original = mmaction2_model()
    pixels = {"mean": [122.771, 116.746, 104.093], "std": [68.500, 66.632, 70.323]}
    state = {**original.clip_state("clip.", half=False), **original.head_state("adapter.")}
    state |= {f"data_preprocessor.{kind}": torch.tensor(values).view(3, 1, 1) for kind, values in pixels.items()}
    file = write_mmaction2(
        tmp_path / "epoch_3.pth",
        original,
        state_dict=state,
        message_hub=hub,
        optimizer=optimizer.state_dict(),
        param_schedulers=[{"last_step": 3, "_global_step": 4, "by_epoch": True}],
    )
    _, report = convert_from_original(file, backbone, NAMES, tmp_path / "converted")
    check_every_tensor_is_kept(tmp_path / "converted", original)
    text = "\n".join(report)
    assert (
        "left out, because they are not weights of the model: meta, message_hub, optimizer, param_schedulers" in text
    )
    assert "dropped: 'data_preprocessor.mean' (3 x 1 x 1): equal to the image settings of the processor" in text
    state["data_preprocessor.std"] = torch.full((3, 1, 1), 57.0)
    write_mmaction2(file, original, state_dict=state)
    with pytest.raises(ValueError, match=r"data_preprocessor\.std in .*epoch_3\.pth is \[57\.0"):
        convert_from_original(file, backbone, NAMES)


def test_a_state_dict_alone_is_read_as_mmengine_reads_it(backbone: Path, tmp_path: Path) -> None:
    original = mmaction2_model()
    state = {**original.clip_state("clip.", half=False), **original.head_state("adapter.")}
    torch.save(state, tmp_path / "vit.pth")
    convert_from_original(tmp_path / "vit.pth", backbone, NAMES, tmp_path / "converted")
    check_same_logits(tmp_path / "converted", original, backbone)


# -- what does not fit -----------------------------------------------------------------------------------------------

Change = Callable[[dict[str, torch.Tensor], dict[str, torch.Tensor]], Any]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda clip, head: clip.pop("visual.ln_post.bias"),
            r"missing tensors: 'visual\.ln_post\.bias' of model_state_dict\.",
        ),
        (
            lambda clip, head: head.pop("transformer.resblocks.1.attn.in_proj_bias"),
            r"missing tensors: 'transformer\.resblocks\.1\.attn\.in_proj_bias' of fusion_model_state_dict",
        ),
        (lambda clip, head: head.pop(DEAD), f"missing tensors: '{DEAD}' of fusion_model_state_dict"),
        (lambda clip, head: clip.update(extra=torch.ones(1)), "unknown tensors: 'extra' of model_state_dict"),
        (lambda clip, head: head.update(extra=torch.ones(1)), "unknown tensors: 'extra' of fusion_model_state_dict"),
        (lambda clip, head: head.update({"shift.weight": torch.ones(DIM, 1, 3)}), r"unknown .*resblocks"),
        (
            lambda clip, head: clip.update({"visual.proj": clip["visual.proj"].T.contiguous()}),
            r"'visual\.proj' of model_state_dict is \(24, 128\) instead of \(128, 24\)",
        ),
        (
            lambda clip, head: clip.update({"visual.transformer.resblocks.0.mlp.c_fc.bias": torch.ones(7)}),
            r"mlp\.c_fc\.bias' of model_state_dict is \(7,\) instead of \(512,\)",
        ),
        (lambda clip, head: clip["ln_final.weight"].fill_(torch.nan), r"'ln_final\.weight' .* NaN"),
        (lambda clip, head: clip.update(logit_scale=torch.tensor(4)), "'logit_scale' of .* is not a tensor of float"),
        (lambda clip, head: head.update(extra="text"), "'extra' of fusion_model_state_dict in .* is not a tensor"),
        (
            lambda clip, head: clip.update({"visual.time_embedding": torch.ones(8, WIDTH)}),
            r"has 'visual\.time_embedding' of model_state_dict.* together with a head",
        ),
        (
            lambda clip, head: head.update({f"transformer.resblocks.{i}.x": torch.ones(1) for i in range(101)}),
            "has 101 layers, but the limit is 100",
        ),
    ],
)
def test_what_is_no_model_of_the_original_is_refused_by_name(
    change: Change, message: str, backbone: Path, tmp_path: Path
) -> None:
    original = Original(VOCABULARY)
    clip, head = original.clip_state(), original.head_state("")
    change(clip, head)
    file = write_original(tmp_path / "vit.pt", original, model_state_dict=clip, fusion_model_state_dict=head)
    with pytest.raises(ValueError, match=message) as refusal:
        convert_from_original(file, backbone, NAMES, tmp_path / "converted")
    assert str(file) in str(refusal.value)
    assert not (tmp_path / "converted").exists()


def test_a_shift_in_some_blocks_alone_is_refused(backbone: Path, tmp_path: Path) -> None:
    original = Original(VOCABULARY, shift=True)
    clip = {name.replace("resblocks.0.net.", "resblocks.0."): value for name, value in original.clip_state().items()}
    file = write_original(tmp_path / "vit.pt", original, model_state_dict=clip)
    with pytest.raises(
        ValueError, match=r"missing tensors: 'visual\.transformer\.resblocks\.0\.net\.\S+.* and 2 more; .*unknown"
    ):
        convert_from_original(file, backbone, NAMES)


def test_dead_weights_alone_are_no_head(backbone: Path, tmp_path: Path) -> None:
    original = Original(VOCABULARY, "meanP")
    head = {DEAD: torch.ones(77, DIM)}
    file = write_original(tmp_path / "vit.pt", original, fusion_model_state_dict=head)
    with pytest.raises(ValueError, match=f"unknown tensors: '{DEAD}'"):
        convert_from_original(file, backbone, NAMES)


def test_an_mmaction2_model_without_its_adapter_is_refused(backbone: Path, tmp_path: Path) -> None:
    original = mmaction2_model()
    file = write_mmaction2(tmp_path / "vit.pth", original, state_dict=original.clip_state("clip."))
    with pytest.raises(ValueError, match=r"missing tensors: 'adapter\.frame_position_embeddings\.weight'"):
        convert_from_original(file, backbone, NAMES)
    state = {**original.clip_state("clip."), **original.head_state("adapter."), "cls_head.fc.bias": torch.ones(2)}
    write_mmaction2(file, original, state_dict=state)
    with pytest.raises(ValueError, match=r"unknown tensors: 'cls_head\.fc\.bias'"):
        convert_from_original(file, backbone, NAMES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            {"state_dict": {"backbone.conv1.weight": torch.ones(1)}},
            r"not a checkpoint of ActionCLIP.*It has state_dict\.",
        ),
        ({"epoch": 3}, "It has epoch"),
        ({}, "It has nothing"),
        ([1], "contains a list"),
        ({"model_state_dict": {}}, "no fusion_model_state_dict, but model_state_dict"),
        ({"model_state_dict": {1: torch.ones(1)}, "fusion_model_state_dict": {}}, "not a dict of named tensors"),
        ({"model_state_dict": {}, "fusion_model_state_dict": {}}, "0 in the checkpoint, 2 in the backbone"),
    ],
)
def test_other_files_are_refused(content: Any, message: str, backbone: Path, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=rf"other\.pt.*{message}"):
        convert_from_original(tmp_path / "other.pt", backbone, NAMES)


def test_an_attack_next_to_the_tensors_does_nothing(backbone: Path, tmp_path: Path) -> None:
    class Attack:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(tmp_path / "mark"),)

    original = Original(VOCABULARY)
    write_original(tmp_path / "vit.pt", original, optimizer_state_dict=Attack())
    write_mmaction2(tmp_path / "vit.pth", original, message_hub=Attack())
    for name in ("vit.pt", "vit.pth"):
        with pytest.raises(ValueError, match=rf"{name} .*none of its code was run: it needs 'posix\.mkdir'"):
            convert_from_original(tmp_path / name, backbone, NAMES)
    assert not (tmp_path / "mark").exists()


def test_another_backbone_is_refused_with_its_sizes(
    backbone: Path, openai_clip: Path, siglip: Path, tmp_path: Path
) -> None:
    file = write_original(tmp_path / "vit.pt", Original(VOCABULARY))
    message = (
        r"vit\.pt was fine-tuned from another CLIP than '.*clip-vit-base-patch32': "
        "width of the image encoder 128 in the checkpoint, 48 in the backbone"
    )
    with pytest.raises(
        ValueError,
        match=rf"{message}; image positions 5 in the checkpoint, 50 in the backbone; width of the text encoder 128",
    ):
        convert_from_original(file, openai_clip, NAMES)
    deeper = write_backbone(tmp_path / "deeper", num_hidden_layers=3)
    with pytest.raises(
        ValueError,
        match="layers of the image encoder 2 in the checkpoint, 3 in the backbone; "
        "layers of the text encoder 2 in the checkpoint, 3 in the backbone",
    ):
        convert_from_original(file, deeper, NAMES)
    with pytest.raises(TypeError, match="is of type 'siglip'"):
        convert_from_original(file, siglip, NAMES)
    with pytest.raises(ValueError, match=r"clip_text_model of '.*gelu' uses gelu"):
        convert_from_original(file, write_backbone(tmp_path / "gelu", hidden_act="gelu"), NAMES)
    with pytest.raises(ValueError, match="is the folder of the backbone"):
        convert_from_original(file, backbone, NAMES, backbone)
    with pytest.raises(OSError, match="missing"):
        convert_from_original(file, tmp_path / "missing", NAMES)
    assert (backbone / "config.json").is_file()


def test_other_attention_heads_than_the_originals_are_reported(tmp_path: Path) -> None:
    folder = write_backbone(tmp_path / "clip", num_attention_heads=4)
    file = write_original(tmp_path / "vit.pt", Original(VOCABULARY, "meanP"))
    _, report = convert_from_original(file, folder, NAMES)
    warnings = [line for line in report if "warning" in line]
    assert len(warnings) == 2
    assert (
        "clip_text_model of the backbone has 4 attention heads, but the original code uses one head per 64 of its 128"
        in warnings[0]
    )


# -- labels ----------------------------------------------------------------------------------------------------------


def run(tmp_path: Path, backbone: Path, labels: str) -> tuple[list[str], list[str]]:
    """The class names of the folder that the command line makes, and what it prints."""
    file = write_original(tmp_path / "vit.pt", Original(VOCABULARY, "meanP"))
    (tmp_path / "labels.csv").write_text(labels, encoding="utf-8")
    arguments = Namespace(
        checkpoint=str(file),
        backbone=str(backbone),
        labels=str(tmp_path / "labels.csv"),
        output_dir=str(tmp_path / "out"),
        num_frames=None,
    )
    report = convert(arguments)
    return ActionClipForVideoClassification.from_pretrained(tmp_path / "out").config.class_names, report


def test_labels_are_taken_as_they_are(backbone: Path, tmp_path: Path) -> None:
    table = 'id,name\n0,ApplyEyeMakeup\n1,"cat, the dog"\n2,"a ""high"" dog"\n3,dog_cat\n4, CAT \n5,dog_cat\n'
    names, report = run(tmp_path, backbone, table)
    assert names == ["ApplyEyeMakeup", "cat, the dog", 'a "high" dog', "dog_cat", " CAT ", "dog_cat"]
    assert f"  classes: 6, from {tmp_path / 'labels.csv'}" in report
    assert report[-1] == f"saved {tmp_path / 'out'}"
    assert not any("warning" in line for line in report)


def test_one_class_is_enough(backbone: Path, tmp_path: Path) -> None:
    assert run(tmp_path, backbone, "id,name\n0,cat\n")[0] == ["cat"]


@pytest.mark.parametrize(
    ("table", "said"), [("id,name\n1,dog\n0,cat\n", "class 0 has the id '1'"), ("id,name\n0,dog\n2,cat\n", "class 1")]
)
def test_rows_and_not_ids_are_the_order_and_a_difference_is_reported(
    table: str, said: str, backbone: Path, tmp_path: Path
) -> None:
    names, report = run(tmp_path, backbone, table)
    assert names == ["dog", "cat"]
    assert any("warning: the ids" in line and said in line for line in report)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,name\n", "has no classes"),
        ("0,cat\n1,dog\n", "expected the first line 'id,name'"),
        ("id,name\n0,cat\n1, \n", "row 2: the class has no name"),
        ("id,name\n0,cat,dog\n", "row 1: expected 2 columns"),
    ],
)
def test_labels_of_another_form_are_refused(table: str, message: str, backbone: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=rf"labels\.csv.*{message}"):
        run(tmp_path, backbone, table)
    assert not (tmp_path / "out").exists()


def test_the_tests_head_is_mmaction2s_where_it_differs() -> None:
    """The two codes' norms differ in a constant alone, which must show in the numbers compared above."""
    frames = torch.randn(1, FRAMES, DIM, dtype=torch.float64)
    one, other = Head("Transf", FRAMES).double(), Head("Transf", FRAMES, eps=1e-5).double()
    other.load_state_dict(one.state_dict())
    assert (one(frames) - other(frames)).abs().max() > 1e-7
