"""Question answering with a list of answers."""

from pathlib import Path

import pytest
import torch

from hf_prompt_models import AlproForVideoQuestionAnswering
from tests.models.alpro import little
from tests.models.alpro.written_out import WrittenOut, cross_entropy, two_layers


ANSWERS = {0: "dog", 1: "red ball", 2: "two"}


@pytest.fixture(scope="module")
def model() -> AlproForVideoQuestionAnswering:
    config = little.config(id2label=ANSWERS, label2id={name: index for index, name in ANSWERS.items()})
    return little.lively(AlproForVideoQuestionAnswering(config)).double()


@torch.no_grad()
def test_logits_and_loss_equal_the_written_out_ones(model: AlproForVideoQuestionAnswering) -> None:
    videos, texts = little.videos(4), little.texts(4)
    labels = model.answer_labels(["two", "dog", "dog", "red ball"])
    assert labels.tolist() == [2, 0, 0, 1]
    output = model(pixel_values=videos, **texts, labels=labels)
    written, expected = WrittenOut(model), []
    for ids, mask, pixels in zip(texts["input_ids"], texts["attention_mask"], videos, strict=True):
        fused = written.fuse(written.text(ids, mask), mask, written.video(pixels))
        expected.append(two_layers(written.all, "classifier", fused[0]))
    torch.testing.assert_close(output.logits, torch.stack(expected), rtol=0, atol=1e-8)
    costs = [cross_entropy(logits, int(label)) for logits, label in zip(expected, labels, strict=True)]
    torch.testing.assert_close(output.loss, sum(costs) / 4, rtol=0, atol=1e-8)


@torch.no_grad()
def test_questions_with_other_answers_are_left_out_of_the_loss(model: AlproForVideoQuestionAnswering) -> None:
    videos, texts = little.videos(3), little.texts(3)
    some = model(pixel_values=videos, **texts, labels=torch.tensor([1, -100, 2])).loss
    logits = model(pixel_values=videos, **texts).logits
    torch.testing.assert_close(some, (cross_entropy(logits[0], 1) + cross_entropy(logits[2], 2)) / 2)
    assert model(pixel_values=videos, **texts, labels=torch.full((3,), -100)).loss == 0


def test_an_answer_outside_the_list_is_refused(model: AlproForVideoQuestionAnswering) -> None:
    with pytest.raises(ValueError, match="'three' is not one of the 3 answers"):
        model.answer_labels(["dog", "three"])
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"0 to 2, .* got {wrong}"):
            model(pixel_values=little.videos(1), **little.texts(1), labels=torch.tensor([wrong]))


def test_every_trained_parameter_gets_a_gradient(tmp_path: Path) -> None:
    """Processes that train together wait for all of them; with LoRA and checkpointing, too."""
    model = little.lively(AlproForVideoQuestionAnswering(little.config(id2label={0: "red", 1: "big"})))
    model.save_pretrained(tmp_path)
    loaded = AlproForVideoQuestionAnswering.from_pretrained(tmp_path)
    inputs = {"pixel_values": little.videos(2).float(), **little.texts(2), "labels": torch.tensor([0, 1])}
    for each in (model, loaded):
        each.train()
        each(**inputs).loss.backward()
        for name, parameter in each.named_parameters():
            assert (parameter.grad is not None) == parameter.requires_grad, name
    loaded.activation_checkpointing_enable()
    loaded.requires_grad_(False)
    loaded.enable_input_require_grads()  # as PEFT does
    loaded.classifier.requires_grad_(True)
    assert loaded(**inputs).loss.requires_grad
