"""Scores and losses against reference loops."""

import math

import pytest
import torch

from hf_prompt_models.models.cpt.losses_cpt import (
    color_scores,
    copy_targets,
    listwise_loss,
    palette_logits,
    palette_loss,
    region_scores,
    vocab_loss,
)


# Two examples, of 5 and of 1 region; three colours, whose words are 4, 7 and 2; "none" is 9.
EXAMPLE = torch.tensor([0, 0, 1])
REGION_INDEX = torch.tensor([[0, 1, 2], [3, 4, -1], [0, -1, -1]])
COLOR_IDS = torch.tensor([[4, 7, 2], [4, 7, -1], [4, -1, -1]])
NONE_IDS = torch.tensor([9, 9, 9])


def new_logits(texts: int = 1) -> torch.Tensor:
    return torch.randn(3, texts, 11, generator=torch.Generator().manual_seed(texts)).double()


def scored(z: torch.Tensor, words: list[int], word: int, score: str) -> float:
    """By the definition, of one copy's vocabulary logits."""
    if score == "logit":
        return z[word].item()
    if score == "log_odds":
        return (z[word] - z[9]).item()
    if score == "logit_ratio":
        return (z[word] / z[9]).item()
    return (math.exp(z[word]) / sum(math.exp(z[each]) for each in [*words, 9])) if score == "prob" else math.nan


@pytest.mark.parametrize("score", ["log_odds", "logit", "logit_ratio", "prob"])
@pytest.mark.parametrize("texts", [1, 3])
def test_each_score_is_what_its_definition_says(score: str, texts: int) -> None:
    z = new_logits(texts)
    colors, none = palette_logits(z, COLOR_IDS, NONE_IDS)
    proposals = region_scores(color_scores(colors, none, score), REGION_INDEX, EXAMPLE, 2, 5)
    expected = torch.full((2, 5), -torch.inf, dtype=torch.double)
    for copy in range(3):
        words = [word for word in COLOR_IDS[copy].tolist() if word >= 0]
        for slot, word in enumerate(words):
            values = [scored(z[copy, text], words, word, score) for text in range(texts)]
            value = values[0] - (sum(values[1:]) / (texts - 1) if texts > 1 else 0.0)
            expected[EXAMPLE[copy], REGION_INDEX[copy, slot]] = value
    torch.testing.assert_close(proposals, expected)


def test_the_anchor_is_subtracted_in_each_copy_and_its_first_score_added() -> None:
    scores = torch.tensor([[5.0, 1.0, 2.0], [7.0, 3.0, 4.0], [9.0, 6.0, -torch.inf], [8.0, -torch.inf, -torch.inf]])
    region_index = torch.tensor([[0, 1, 2], [0, 3, 4], [0, 5, -1], [0, -1, -1]])
    found = region_scores(scores[:, None], region_index, torch.tensor([0, 0, 0, 1]), 2, 6)
    expected = [[5.0, 1.0, 2.0, 3.0 - 7 + 5, 4.0 - 7 + 5, 6.0 - 9 + 5], [8.0, *[-torch.inf] * 5]]
    torch.testing.assert_close(found, torch.tensor(expected))


def test_a_region_that_several_copies_show_has_their_mean() -> None:
    scores, shown = torch.tensor([[1.0], [2.0], [5.0], [8.0]]), torch.tensor([[0], [1], [0], [1]])
    found = region_scores(scores[:, None], shown, torch.zeros(4, dtype=torch.long), 1, 2)
    torch.testing.assert_close(found, torch.tensor([[3.0, 5.0]]))


def test_the_right_colour_is_that_of_the_best_region_above_one_half() -> None:
    labels = torch.tensor([[0.1, 0.6, 0.9, 0.5, 0.2], [0.51, -1.0, -1.0, -1.0, -1.0]])
    assert copy_targets(labels, REGION_INDEX, EXAMPLE).tolist() == [2, 3, 0]  # strictly above; 3 is "none"


def test_the_vocabulary_loss_is_the_mean_over_copies() -> None:
    z, targets = new_logits()[:, 0], torch.tensor([2, 3, 0])
    by_hand = [-math.log(math.exp(z[copy, word]) / z[copy].exp().sum()) for copy, word in ((0, 2), (1, 9), (2, 4))]
    assert vocab_loss(z, COLOR_IDS, NONE_IDS, targets).item() == pytest.approx(sum(by_hand) / 3)


def test_the_palette_loss_is_over_the_colours_of_a_copy_and_none() -> None:
    z, targets = new_logits(), torch.tensor([2, 3, 0])
    colors, none = palette_logits(z, COLOR_IDS, NONE_IDS)
    by_hand = [
        -math.log(math.exp(z[copy, 0, word]) / sum(math.exp(z[copy, 0, each]) for each in words))
        for copy, word, words in ((0, 2, [4, 7, 2, 9]), (1, 9, [4, 7, 9]), (2, 4, [4, 9]))
    ]
    assert palette_loss(colors[:, 0], none[:, 0], targets).item() == pytest.approx(sum(by_hand) / 3)


def test_the_listwise_loss_is_over_the_regions_and_leaves_examples_without_a_positive_out() -> None:
    logits = torch.tensor([[1.0, 2.0, 0.5], [3.0, 1.0, -torch.inf], [1.0, 1.0, 1.0]], requires_grad=True)
    labels = torch.tensor([[0.9, 0.1, 0.6], [0.2, 0.8, -1.0], [0.5, 0.5, 0.0]])
    first = math.exp(1.0) + math.exp(0.5)
    second = math.exp(1.0)
    by_hand = [
        -math.log(first / (first + math.exp(2.0))),
        -math.log(second / (second + math.exp(3.0))),
    ]
    loss = listwise_loss(logits, labels)
    assert loss.item() == pytest.approx(sum(by_hand) / 2)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[2].any()


def test_a_batch_without_any_positive_has_a_listwise_loss_of_nothing() -> None:
    logits = torch.tensor([[1.0, -torch.inf]], requires_grad=True)
    loss = listwise_loss(logits, torch.tensor([[0.5, -1.0]]))
    loss.backward()
    assert loss.item() == 0.0
    assert not logits.grad.any()


@pytest.mark.parametrize("score", ["log_odds", "logit", "logit_ratio", "prob"])
def test_gradients_are_finite_where_copies_have_fewer_colours(score: str) -> None:
    z = new_logits(2).requires_grad_()
    colors, none = palette_logits(z, COLOR_IDS, NONE_IDS)
    proposals = region_scores(color_scores(colors, none, score), REGION_INDEX, EXAMPLE, 2, 5)
    labels = torch.tensor([[0.1, 0.6, 0.9, 0.5, 0.2], [0.51, -1.0, -1.0, -1.0, -1.0]])
    listwise_loss(proposals, labels).backward()
    assert z.grad.isfinite().all()
    assert z.grad.any()
