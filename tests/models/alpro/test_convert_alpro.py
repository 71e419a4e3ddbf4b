"""Checkpoints of the original code and of LAVIS as models of this package."""

import json
import os
import re
import runpy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, PreTrainedModel

from hf_prompt_models import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproPrompter,
)
from hf_prompt_models.models.alpro.convert_alpro import convert_from_original
from tests.models.alpro import little
from tests.models.alpro.original_alpro import ANSWERS, ENTITIES, FRAMES, PATCH, SIDE, Original, write
from tests.models.alpro.written_out import WrittenOut, two_layers


LAYOUTS = {
    "pretraining": AlproForPreTraining,
    "prompter": AlproPrompter,
    "base": AlproForVideoTextRetrieval,
    "lavis_retrieval": AlproForVideoTextRetrieval,
    "question_answering": AlproForVideoQuestionAnswering,
    "lavis_question_answering": AlproForVideoQuestionAnswering,
}
BLOCK = {
    "norm1": "layernorm_before",
    "norm2": "layernorm_after",
    "temporal_norm1": "temporal_layernorm",
    "temporal_fc": "temporal_dense",
    "temporal_attn.qkv": "temporal_attention.attention.qkv",
    "temporal_attn.proj": "temporal_attention.output.dense",
    "attn.qkv": "attention.attention.qkv",
    "attn.proj": "attention.output.dense",
    "mlp.fc1": "intermediate.dense",
    "mlp.fc2": "output.dense",
}


def original(layout: str) -> dict[str, Any]:
    return getattr(Original(len(little.tokenizer())), layout)()


def flat(state_dict: dict[str, Any]) -> dict[str, torch.Tensor]:
    return state_dict.get("model", state_dict)


class FromTheFile(WrittenOut):
    """The written-out ALPRO over the original's own tensors, their names as `written_out` has them."""

    def __init__(self, tensors: dict[str, torch.Tensor], config: Any):
        self.all, self.towers, self.config = {}, {}, config
        for name, tensor in tensors.items():
            if name.startswith("visual_encoder.model."):
                self.towers["video_model." + self._video(name.removeprefix("visual_encoder.model."))] = tensor
            elif name.startswith("text_encoder.cls."):
                self.all["mlm_head." + name.removeprefix("text_encoder.cls.")] = tensor
            elif name.startswith("text_encoder."):
                self.towers["text_model." + name.removeprefix("text_encoder.").removeprefix("bert.")] = tensor
            elif name.startswith(("vision_proj", "text_proj")):
                side, _, rest = name.partition("_proj")
                self.towers[f"{'video' if side == 'vision' else 'text'}_projection{rest}"] = tensor
            else:
                self.all[name] = tensor

    @staticmethod
    def _video(name: str) -> str:
        if name.startswith("blocks."):
            _, number, rest = name.split(".", 2)
            part, _, kind = rest.rpartition(".")
            return f"encoder.layer.{number}.{BLOCK[part]}.{kind}"
        for theirs, ours in (
            ("cls_token", "embeddings.cls_token"),
            ("pos_embed", "embeddings.position_embeddings"),
            ("time_embed", "embeddings.time_embeddings"),
            ("patch_embed.proj", "embeddings.patch_embeddings.projection"),
            ("norm.", "layernorm."),
        ):
            if name.startswith(theirs):
                return ours + name.removeprefix(theirs)
        return name


def inputs() -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, FRAMES, 3, SIDE * PATCH, SIDE * PATCH, generator=generator), little.texts(2)


@pytest.mark.parametrize("layout", LAYOUTS)
@torch.no_grad()
def test_a_converted_model_reports_what_the_original_would(layout: str, tmp_path: Path) -> None:
    tensors = original(layout)
    file = write(tmp_path, tensors)
    _, report = convert_from_original(file, little.tokenizer(), tmp_path / "out")
    model = AutoModel.from_pretrained(tmp_path / "out")
    assert type(model) is LAYOUTS[layout]
    name, count = LAYOUTS[layout].__name__, len(flat(tensors))
    assert re.search(rf": {name}, used \d+ of {count} tensors$", report[0])
    videos, texts = inputs()
    written = FromTheFile(flat(tensors), model.config)
    check(layout, model, written, flat(tensors), videos, texts)
    assert (model.config.num_frames, model.config.fusion_layer) == (FRAMES, 2)
    assert model.config.vision_config.image_size == SIDE * PATCH
    processor = model._find_processor()
    assert processor.num_frames == FRAMES
    assert processor.image_processor.size.height == SIDE * PATCH


def check(
    layout: str,
    model: PreTrainedModel,
    written: FromTheFile,
    tensors: dict[str, torch.Tensor],
    videos: torch.Tensor,
    texts: dict[str, torch.Tensor],
) -> None:
    close = {"rtol": 0, "atol": 1e-4}
    tokens = [written.video(video) for video in videos]
    encoded = [written.text(ids, mask) for ids, mask in zip(*texts.values(), strict=True)]
    fused = [written.fuse(encoded[row], texts["attention_mask"][row], tokens[row]) for row in range(2)]
    if "vision_proj.weight" in tensors:
        for row in range(2):
            found = model.get_video_features(videos).pooler_output[row]
            torch.testing.assert_close(found, written.feature("video", tokens[row][0]), **close)
            found = model.get_text_features(**texts).pooler_output[row]
            torch.testing.assert_close(found, written.feature("text", encoded[row][0]), **close)
        assert model.alpro.temperature.item() == pytest.approx(0.2)
    if layout == "prompter":
        for name, is_video in (("video", [True, True]), ("image", [False, False])):
            expected = torch.stack([written.feature("video", each[0]) for each in tokens])
            expected = expected @ tensors[f"{name}_prompt_feat"].T / 0.2
            torch.testing.assert_close(model(videos, torch.tensor(is_video)).logits, expected, **close)
    elif layout == "pretraining":
        batch = {"pixel_values": videos, **texts, "crop_pixel_values": videos.flip(0)}
        output = model(**batch, crop_boxes=torch.tensor([[0, 0, 16, 16]] * 2))
        theirs = {
            name.removeprefix("prompter."): each for name, each in tensors.items() if name.startswith("prompter")
        }
        teacher = FromTheFile(theirs, model.config)
        for row in range(2):
            length = texts["input_ids"].shape[1]
            expected = two_layers(written.all, "mpm_head", fused[row][length + 1])
            torch.testing.assert_close(output.entity_logits[row], expected, **close)
            feature = teacher.feature("video", teacher.video(videos[1 - row])[0])
            expected = (theirs["video_prompt_feat"] @ feature / 0.2).softmax(dim=0)
            torch.testing.assert_close(output.entity_labels[row], expected, **close)
            words = model.mlm_head(model.alpro(videos, **texts).last_hidden_state[row, 0])
            torch.testing.assert_close(words, written.words(fused[row][0]), **close)
            head = written.all["itm_head.weight"] @ fused[row][0] + written.all["itm_head.bias"]
            found = model.vtm_head(model.alpro(videos, **texts).last_hidden_state[row, 0])
            torch.testing.assert_close(found, head, **close)
        assert model.config.num_entities == ENTITIES
        assert model.config.tie_word_embeddings
    elif "question" in layout:
        found = model(pixel_values=videos, **texts).logits
        for row in range(2):
            torch.testing.assert_close(found[row], two_layers(written.all, "classifier", fused[row][0]), **close)
        assert model.config.num_labels == ANSWERS
    else:
        found = model(pixel_values=videos, **texts).logits
        for row in range(2):
            expected = written.all["itm_head.weight"] @ fused[row][0] + written.all["itm_head.bias"]
            torch.testing.assert_close(found[row], expected, **close)


@torch.no_grad()
def test_a_language_model_that_shares_no_words_with_the_text_keeps_its_own(tmp_path: Path) -> None:
    tensors = original("pretraining")
    tensors["text_encoder.cls.predictions.decoder.weight"] = torch.randn(len(little.tokenizer()), 64)
    del tensors["text_encoder.cls.predictions.decoder.bias"]
    convert_from_original(write(tmp_path, tensors), little.tokenizer(), tmp_path / "out")
    predictions = AutoModel.from_pretrained(tmp_path / "out").mlm_head.predictions
    assert torch.equal(predictions.decoder.weight, tensors["text_encoder.cls.predictions.decoder.weight"])
    assert torch.equal(predictions.decoder.bias, tensors["text_encoder.cls.predictions.bias"])


def test_what_is_not_read_is_named_with_the_reason(tmp_path: Path) -> None:
    _, report = convert_from_original(write(tmp_path, original("base")), little.tokenizer())
    text = "\n".join(report)
    assert "text_encoder.embeddings.position_ids: consecutive numbers" in text
    assert "visual_encoder.model.head.weight, visual_encoder.model.head.bias: head for the actions of Kinetics" in text
    assert "text_encoder.cls.predictions.bias" in text
    _, report = convert_from_original(write(tmp_path, original("lavis_retrieval")), little.tokenizer())
    assert "left out, because they are not weights of the model: epoch" in report[-1]
    _, report = convert_from_original(write(tmp_path, original("lavis_question_answering")), little.tokenizer())
    assert "newly initialized, because the file has none: alpro.temperature" in report[-1]
    without = {name: each for name, each in original("pretraining").items() if not name.startswith("prompter.")}
    model, report = convert_from_original(write(tmp_path, without), little.tokenizer())
    assert isinstance(model, AlproForPreTraining)
    assert model.prompter is None
    assert "mpm_head.0.weight" in "\n".join(report)


def test_time_embeddings_are_resized_where_asked_for(tmp_path: Path) -> None:
    tensors = original("base")
    model, report = convert_from_original(write(tmp_path, tensors), little.tokenizer(), num_frames=4)
    found = model.alpro.video_model.embeddings.time_embeddings
    expected = tensors["visual_encoder.model.time_embed"].repeat_interleave(2, dim=1)
    assert torch.equal(found, expected)
    assert model.processor.num_frames == 4
    assert "2 time embeddings, resized to 4" in report[-1]


def test_answers_and_entities_get_their_names(tmp_path: Path) -> None:
    labels = tmp_path / "ans2label.json"
    labels.write_text(json.dumps({"man": 0, "two": 3}))
    file = write(tmp_path, original("question_answering"))
    model, _ = convert_from_original(file, little.tokenizer(), labels=labels)
    assert model.config.id2label[3] == "two"
    assert model.config.id2label[1] == "LABEL_1"
    assert model.answer_labels(["two", "man"]).tolist() == [3, 0]
    entities = tmp_path / "unigrams.txt"
    entities.write_text("\n".join(f"{name} {50 - place}" for place, name in enumerate("abcdefgh")))
    model, _ = convert_from_original(write(tmp_path, original("prompter")), little.tokenizer(), entities=entities)
    assert model.config.entities == list("abcde")


@pytest.mark.parametrize(
    ("layout", "kind", "content", "message"),
    [
        ("base", "labels", "{}", "not for question answering"),
        ("question_answering", "labels", '{"a": 6}', "0 to 5"),
        ("question_answering", "labels", '{"a": 1, "b": 1}', "same index"),
        ("question_answering", "labels", "[1]", "a JSON object"),
        ("base", "entities", "a", "contains no prompter"),
        ("prompter", "entities", "a 3\nb 2", "lists 2 entities, but the prompter"),
        ("prompter", "entities", "a\nb\nc\nd\nA", "has the same name as entity 0"),
    ],
)
def test_lists_that_do_not_fit_are_refused(layout: str, kind: str, content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "list").write_text(content)
    with pytest.raises(ValueError, match=message):
        convert_from_original(write(tmp_path, original(layout)), little.tokenizer(), **{kind: tmp_path / "list"})


def change(name: str, tensor: Any) -> Any:
    return lambda tensors: tensors.__setitem__(name, tensor)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda tensors: tensors.pop("itm_head.bias"), "missing tensors: itm_head.bias"),
        (lambda tensors: tensors.pop("visual_encoder.model.pos_embed"), "no 'visual_encoder.model.pos_embed'"),
        (change("surprise", torch.zeros(1)), "unknown tensors: surprise"),
        (change("temp", torch.tensor([0.2])), r"'temp' is \(1,\) instead of \(\)"),
        (change("temp", torch.tensor(float("nan"))), "NaN or infinity"),
        (change("temp", 0.2), "'temp' in .* is not a named tensor"),
        (change("text_encoder.bert.encoder.layer.99.x", torch.zeros(1)), "instead of 0, 1, 2"),
        (change("visual_encoder.model.pos_embed", torch.zeros(1, 4, 64)), "3 patches, which do not form a square"),
        (change("text_encoder.embeddings.LayerNorm.bias", torch.zeros(64)), "twice"),
        (
            change("text_encoder.bert.embeddings.word_embeddings.weight", torch.zeros(9, 64)),
            "but the model in .* has 9",
        ),
    ],
)
def test_what_is_no_checkpoint_of_alpro_is_refused(damage: Any, message: str, tmp_path: Path) -> None:
    tensors = original("base")
    damage(tensors)
    with pytest.raises(ValueError, match=message):
        convert_from_original(write(tmp_path, tensors), little.tokenizer(), tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Evil:
    def __reduce__(self) -> tuple:
        return os.system, ("touch evil",)


def test_nothing_in_a_checkpoint_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="none of its code was run"):
        convert_from_original(write(tmp_path, {"temp": Evil()}), little.tokenizer())
    assert not (tmp_path / "evil").exists()


def test_the_command_line_converts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    little.tokenizer().save_pretrained(tmp_path / "tokenizer")
    flags = {
        "--checkpoint": write(tmp_path, original("base")),
        "--tokenizer": tmp_path / "tokenizer",
        "--output_dir": tmp_path / "out",
        "--num_frames": 3,
    }
    main = runpy.run_path(str(Path(__file__).parents[3] / "scripts" / "convert.py"))["main"]
    main(["alpro", *(str(each) for pair in flags.items() for each in pair)])
    assert capsys.readouterr().out.endswith(f"saved {tmp_path / 'out'}\n")
    assert AutoModel.from_pretrained(tmp_path / "out").config.num_frames == 3
    flags["--labels"] = tmp_path / "missing.json"
    with pytest.raises(SystemExit, match=r"error: .*not for question answering"):
        main(["alpro", *(str(each) for pair in flags.items() for each in pair)])
