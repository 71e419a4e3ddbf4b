"""The loss against a reference implementation, and the same loss for two processes as for one."""

from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from hf_prompt_models import ActionClipForVideoClassification
from hf_prompt_models.models.action_clip.loss_action_clip import bidirectional_kl, draw_classes, find_matches
from tests.models.action_clip import written_out
from tests.programs import run_two


NAMES = ["cat", "dog", "the photo"]
LABELS = torch.tensor([0, 2, 0, 1, 0, 2])
SEVERAL = torch.tensor([[1, 0, 1], [0, 1, 0], [1, 1, 1], [0, 0, 1]]).double()


def build(backbone: Path, **choices: object) -> ActionClipForVideoClassification:
    return ActionClipForVideoClassification.from_backbone(
        backbone, NAMES, **{"post_network": "lstm", "num_frames": 2} | choices
    )


def rows(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 24, dtype=torch.float64, generator=generator).requires_grad_()


@pytest.mark.parametrize("labels", [LABELS, torch.arange(3), torch.zeros(4, dtype=torch.long)])
def test_the_loss_equals_the_written_out_one(labels: torch.Tensor) -> None:
    videos, texts = rows(len(labels), 0), rows(len(labels), 1)
    scale = torch.tensor(7.0, dtype=torch.float64, requires_grad=True)
    matches = torch.tensor([[float(one == other) for other in labels] for one in labels], dtype=torch.float64)
    expected = written_out.kl_loss(videos, texts, matches, scale)
    loss = bidirectional_kl(
        F.normalize(videos, dim=-1), F.normalize(texts, dim=-1), find_matches(labels, labels), scale
    )
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-9)
    for one, other in zip(
        torch.autograd.grad(loss, [videos, texts, scale]),
        torch.autograd.grad(expected, [videos, texts, scale]),
        strict=True,
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-9)


def test_the_target_of_a_row_is_spread_over_its_matches() -> None:
    """Two of 128 match: 0.4986 each; one: 0.9943 (reference facts of the released code)."""
    similar = torch.zeros(128, 24, dtype=torch.float64)
    for count, share in ((1, 0.9943), (2, 0.4986)):
        matches = torch.zeros(128, 128, dtype=torch.float64)
        matches[:, :count] = 1
        target = (10 * matches).softmax(-1)
        assert target[0, 0].item() == pytest.approx(share, abs=1e-4)
        uniform = (target * (target * 128).log()).sum(-1).mean()  # of equal similarities
        other = (10 * matches.T).softmax(-1)
        back = (other * (other * 128).log()).sum(-1).mean()
        torch.testing.assert_close(bidirectional_kl(similar, similar, matches, 1.0), (uniform + back) / 2)


# -- in the model ----------------------------------------------------------------------------------------------------


def test_training_compares_videos_with_the_sentences_that_were_sampled(openai_clip: Path) -> None:
    model = build(openai_clip).double().train()
    frames = torch.randn(6, 2, 24, dtype=torch.float64)
    torch.manual_seed(5)
    output = model(frame_embeds=frames, labels=LABELS)
    torch.manual_seed(5)
    drawn = torch.randint(2**31, (6, 2))[:, 0] % 16
    assert len(set(drawn.tolist())) > 2
    texts = model.eval().get_text_features().pooler_output[drawn, LABELS]
    torch.testing.assert_close(output.text_embeds, texts, rtol=0, atol=1e-9)
    matches = (LABELS[:, None] == LABELS).double()
    expected = written_out.kl_loss(output.video_embeds, texts, matches, model.clip.logit_scale.exp())
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-6)
    assert output.logits is None


def test_the_temperature_is_not_bounded(openai_clip: Path) -> None:
    model = build(openai_clip).double().train()
    with torch.no_grad():
        model.clip.logit_scale.fill_(6.0)  # CLIP's own training stops at 100, whose logarithm is 4.6
    output = model(frame_embeds=torch.randn(6, 2, 24, dtype=torch.float64), labels=LABELS)
    matches = (LABELS[:, None] == LABELS).double()
    expected = written_out.kl_loss(output.video_embeds, output.text_embeds, matches, torch.tensor(6.0).exp())
    torch.testing.assert_close(output.loss, expected, rtol=1e-6, atol=0)
    output.loss.backward()
    assert model.clip.logit_scale.grad != 0


def test_the_loss_of_eval_mode_is_the_mean_over_templates(openai_clip: Path) -> None:
    model = build(openai_clip).double()
    with torch.no_grad():
        output = model(frame_embeds=torch.randn(6, 2, 24, dtype=torch.float64), labels=LABELS)
    matches = (LABELS[:, None] == LABELS).double()
    scale = model.clip.logit_scale.exp()
    losses = [written_out.kl_loss(output.video_embeds, text[LABELS], matches, scale) for text in output.text_embeds]
    assert len(losses) == 16
    torch.testing.assert_close(output.loss, sum(losses) / 16, rtol=0, atol=1e-6)


def test_a_frozen_text_tower_is_trained_against_with_the_same_loss(openai_clip: Path) -> None:
    whole, head = build(openai_clip).train(), build(openai_clip, trainable="head").train()
    head.load_state_dict(whole.state_dict())
    frames = torch.randn(6, 2, 24)
    losses = []
    for model in (whole, head):
        torch.manual_seed(3)
        losses.append(model(frame_embeds=frames, labels=LABELS).loss)
    torch.testing.assert_close(*losses, rtol=1e-5, atol=1e-5)


# -- several labels a video ------------------------------------------------------------------------------------------


def test_with_several_labels_a_row_is_spread_over_those_that_were_sampled(openai_clip: Path) -> None:
    model = build(openai_clip, problem_type="multi_label_classification").double().train()
    frames = torch.randn(4, 2, 24, dtype=torch.float64)
    torch.manual_seed(1)
    output = model(frame_embeds=frames, labels=SEVERAL)
    torch.manual_seed(1)
    draws = torch.randint(2**31, (4, 2))
    drawn = draws[:, 0] % 16
    own = [[index for index in range(3) if labels[index]] for labels in SEVERAL]
    classes = torch.tensor([each[int(draw) % len(each)] for each, draw in zip(own, draws[:, 1], strict=True)])
    assert all(SEVERAL[video, index] for video, index in enumerate(classes))
    texts = model.eval().get_text_features().pooler_output[drawn, classes]
    matches = torch.tensor([[float(labels[index]) for index in classes] for labels in SEVERAL], dtype=torch.float64)
    assert not torch.equal(matches, matches.T)
    expected = written_out.kl_loss(output.video_embeds, texts, matches, model.clip.logit_scale.exp())
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-6)


def test_the_loss_of_eval_mode_takes_every_label_of_every_video(openai_clip: Path) -> None:
    model = build(openai_clip, problem_type="multi_label_classification", templates=["{}"]).double()
    with torch.no_grad():
        output = model(frame_embeds=torch.randn(4, 2, 24, dtype=torch.float64), labels=SEVERAL)
        empty = model(frame_embeds=torch.randn(2, 2, 24, dtype=torch.float64), labels=torch.zeros(2, 3))
    classes = [index for labels in SEVERAL for index in range(3) if labels[index]]
    matches = torch.tensor([[float(labels[index]) for index in classes] for labels in SEVERAL], dtype=torch.float64)
    scale = model.clip.logit_scale.exp()
    expected = written_out.kl_loss(output.video_embeds, output.text_embeds[0][classes], matches, scale)
    torch.testing.assert_close(output.loss, expected, rtol=0, atol=1e-6)
    assert empty.loss == 0


def test_videos_without_a_label_cannot_be_trained_with(openai_clip: Path) -> None:
    model = build(openai_clip, problem_type="multi_label_classification").train()
    with pytest.raises(ValueError, match=r"\[1\] of the batch have no label"):
        model(frame_embeds=torch.randn(2, 2, 24), labels=torch.tensor([[1.0, 0, 0], [0, 0, 0]]))


@pytest.mark.parametrize(
    ("labels", "several", "message"),
    [
        (torch.tensor([0, 3]), False, "0 to 2, got 0 to 3"),
        (torch.tensor([-100, 1]), False, "got -100 to 1"),
        (torch.tensor([[1.0, 0, 0], [0, 1, 0]]), False, "multi_label_classification"),
        (torch.tensor([0, 1]), True, r"\(batch, 3\)"),
        (None, False, "call eval"),
    ],
)
def test_labels_of_another_form_are_refused(
    labels: torch.Tensor | None, several: bool, message: str, openai_clip: Path
) -> None:
    model = build(openai_clip, problem_type="multi_label_classification" if several else None).train()
    with pytest.raises(ValueError, match=message):
        model(frame_embeds=torch.randn(2, 2, 24), labels=labels)


def test_draws_say_the_sentences_whatever_else_is_in_the_batch(openai_clip: Path) -> None:
    model = build(openai_clip, problem_type="multi_label_classification").double().train()
    frames, draws = torch.randn(4, 2, 24, dtype=torch.float64), torch.tensor([[17, 1], [0, 0], [3, 5], [2**31 - 1, 4]])
    texts = model(frame_embeds=frames, labels=SEVERAL, draws=draws).text_embeds
    parts = [model(frame_embeds=frames[i : i + 2], labels=SEVERAL[i : i + 2], draws=draws[i : i + 2]) for i in (0, 2)]
    torch.testing.assert_close(texts, torch.cat([part.text_embeds for part in parts]), rtol=0, atol=1e-9)
    features = model.eval().get_text_features().pooler_output
    torch.testing.assert_close(texts, features[[1, 0, 3, 15], [2, 1, 2, 2]], rtol=0, atol=1e-9)
    model.train()
    for wrong in (draws[:2], draws[:, :1], draws.double(), -draws):
        with pytest.raises(ValueError, match="draws must be"):
            model(frame_embeds=frames, labels=SEVERAL, draws=wrong)


def test_each_of_a_videos_labels_is_sampled() -> None:
    labels = torch.tensor([[1.0, 0, 1]]).expand(40, 3)
    draws = torch.randint(2**31, (40, 2), generator=torch.Generator().manual_seed(0))
    classes = draw_classes(labels, draws[:, 1]).tolist()
    assert {classes.count(0) > 10, classes.count(2) > 10, classes.count(1) == 0} == {True}


# -- several processes -----------------------------------------------------------------------------------------------


def _train_in_one_of_two(rank: int, folder: Path, backbone: Path, frames: torch.Tensor) -> None:
    for trainable in ("all", "head"):
        torch.manual_seed(0)
        model = build(backbone, templates=["{}"], trainable=trainable).double().train()
        wrapped = DistributedDataParallel(model)
        mine = slice(3 * rank, 3 * rank + 3)
        loss = wrapped(pixel_values=frames[mine], labels=LABELS[mine]).loss
        loss.backward()
        gradients = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        torch.save({"loss": loss.detach(), **gradients}, folder / f"{trainable}-{rank}.pt")


@pytest.mark.slow
def test_two_processes_have_the_loss_and_the_gradients_of_one_with_the_whole_batch(
    openai_clip: Path, tmp_path: Path
) -> None:
    frames = torch.randn(6, 2, 3, 224, 224, dtype=torch.float64)
    run_two(_train_in_one_of_two, tmp_path, openai_clip, frames)
    for trainable in ("all", "head"):
        torch.manual_seed(0)
        model = build(openai_clip, templates=["{}"], trainable=trainable).double().train()
        loss = model(pixel_values=frames, labels=LABELS).loss
        loss.backward()
        expected = {name: each.grad for name, each in model.named_parameters() if each.grad is not None}
        assert set(expected) == {name for name, each in model.named_parameters() if each.requires_grad}
        assert ("clip.logit_scale" in expected) == (trainable == "all")
        for rank in range(2):
            found = torch.load(tmp_path / f"{trainable}-{rank}.pt")
            torch.testing.assert_close(found.pop("loss"), loss.detach(), rtol=0, atol=1e-9)
            torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)
