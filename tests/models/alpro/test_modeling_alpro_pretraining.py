"""The four losses and their gradients against reference implementations in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from hf_prompt_models import AlproForPreTraining, AlproForVideoTextRetrieval
from hf_prompt_models.models.alpro.modeling_alpro_pretraining import entity_loss, keep_confident, masked_word_loss
from hf_prompt_models.models.alpro.modeling_alpro_retrieval import (
    EVALUATION_SEED,
    contrastive_loss,
    matching_loss,
    sample_hard_negatives,
)
from tests.models.alpro import little
from tests.models.alpro.written_out import WrittenOut, cross_entropy, two_layers


BOXES = torch.tensor([[0, 0, 16, 8], [8, 16, 32, 32], [5, 9, 23, 31], [0, 0, 32, 32]])


def rows(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_()


def inputs(count: int = 4) -> dict[str, torch.Tensor]:
    texts = little.texts(count)
    labels = torch.full_like(texts["input_ids"], -100)
    masked = texts["input_ids"].clone()
    for place in range(count):
        labels[place, 1] = masked[place, 1]
        masked[place, 1] = 4
    labels[0, 2] = masked[0, 2]
    return {
        "pixel_values": little.videos(count),
        **texts,
        "mlm_input_ids": masked,
        "mlm_labels": labels,
        "crop_pixel_values": little.videos(count, seed=1),
        "crop_boxes": BOXES[:count],
    }


def pretraining(**fields: object) -> AlproForPreTraining:
    return little.lively(AlproForPreTraining(little.config(**fields))).double()


# -- the functions ---------------------------------------------------------------------------------------------------


def test_contrast_is_the_cross_entropy_of_both_directions() -> None:
    videos, texts = rows(5, 8), rows(5, 8, seed=1)
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    unit_videos, unit_texts = F.normalize(videos, dim=-1), F.normalize(texts, dim=-1)
    expected = torch.tensor(0.0, dtype=torch.float64)
    for place in range(5):
        to_texts = torch.stack([(unit_videos[place] * text).sum() / temperature for text in unit_texts])
        to_videos = torch.stack([(unit_texts[place] * video).sum() / temperature for video in unit_videos])
        expected = expected + (cross_entropy(to_texts, place) + cross_entropy(to_videos, place)) / 10
    loss = contrastive_loss(unit_videos, unit_texts, temperature)
    torch.testing.assert_close(loss, expected, rtol=0, atol=1e-10)
    found, wanted = (
        torch.autograd.grad(each, [videos, texts, temperature], retain_graph=True) for each in (loss, expected)
    )
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


def test_negatives_are_sampled_by_similarity_and_never_the_own() -> None:
    similarities = torch.tensor([[9.0, 1.0, 0.0], [2.0, 9.0, 0.0], [0.0, 0.0, 9.0]])
    drawn = [sample_hard_negatives(similarities) for _ in range(3000)]
    videos, texts = (torch.stack([each[side] for each in drawn]) for side in (0, 1))
    for place in range(3):
        assert not (videos[:, place] == place).any()
        assert not (texts[:, place] == place).any()
    # For text 1 video 0 against video 2 (its column: 1, 0); for video 1 text 0 against text 2 (its row: 2, 0).
    assert (videos[:, 1] == 0).double().mean().item() == pytest.approx(1 / (1 + math.exp(-1)), abs=0.04)
    assert (texts[:, 1] == 0).double().mean().item() == pytest.approx(1 / (1 + math.exp(-2)), abs=0.04)


def test_matching_asks_which_pairs_belong_together() -> None:
    logits = rows(6, 2)
    expected = sum(cross_entropy(logits[place], int(place < 2)) for place in range(6)) / 6
    torch.testing.assert_close(matching_loss(logits, 2), expected, rtol=0, atol=1e-12)


def test_masked_words_are_averaged_and_none_costs_nothing() -> None:
    logits = rows(2, 3, 7)
    labels = torch.tensor([[-100, 4, -100], [2, -100, 0]])
    expected = sum(cross_entropy(logits[at], label) for at, label in (((0, 1), 4), ((1, 0), 2), ((1, 2), 0))) / 3
    torch.testing.assert_close(masked_word_loss(logits, labels), expected, rtol=0, atol=1e-12)
    assert masked_word_loss(logits, torch.full((2, 3), -100)) == 0


def test_entities_cost_the_cross_entropy_with_the_prompters_probabilities() -> None:
    logits = rows(3, 4)
    soft = torch.tensor([[0.7, 0.1, 0.1, 0.1], [0.3, 0.25, 0.25, 0.2], [0.1, 0.1, 0.2, 0.6]], dtype=torch.float64)
    costs = [-sum(soft[row, each] * logits[row].log_softmax(0)[each] for each in range(4)) for row in range(3)]
    keep = torch.tensor([True, False, True])
    torch.testing.assert_close(entity_loss(logits, soft, keep), (costs[0] + costs[2]) / 2, rtol=0, atol=1e-12)
    none = entity_loss(logits, soft, torch.zeros(3, dtype=torch.bool))
    assert none == 0
    assert not torch.autograd.grad(none, logits)[0].any()


def test_the_papers_threshold_is_on_the_probability_and_the_released_codes_on_the_index() -> None:
    soft = torch.tensor([[0.19, 0.17, 0.16, 0.16, 0.16, 0.16], [0.9, 0.1, 0, 0, 0, 0], [0.1, 0.9, 0, 0, 0, 0]])
    assert keep_confident(soft, 0.2).tolist() == [False, True, True]
    assert keep_confident(soft, 0.95).tolist() == [False, False, False]
    assert keep_confident(soft, 0.2, legacy=True).tolist() == [False, False, True]


# -- in the model ----------------------------------------------------------------------------------------------------


def by_hand(model: AlproForPreTraining, batch: dict[str, torch.Tensor], negatives: tuple) -> dict[str, torch.Tensor]:
    """All four, example by example."""
    written, count = WrittenOut(model), len(batch["pixel_values"])
    temperature = written.towers["temperature"]
    videos = [written.video(pixels) for pixels in batch["pixel_values"]]
    masks = batch["attention_mask"]
    texts = [written.text(ids, mask) for ids, mask in zip(batch["input_ids"], masks, strict=True)]
    video_features = [written.feature("video", video[0]) for video in videos]
    text_features = [written.feature("text", text[0]) for text in texts]
    vtc = 0
    for place in range(count):
        to_texts = torch.stack([video_features[place] @ text for text in text_features]) / temperature
        to_videos = torch.stack([text_features[place] @ video for video in video_features]) / temperature
        vtc = vtc + (cross_entropy(to_texts, place) + cross_entropy(to_videos, place)) / (2 * count)
    pairs = [(place, place, 1) for place in range(count)]
    pairs += [(place, int(negatives[0][place]), 0) for place in range(count)]
    pairs += [(int(negatives[1][place]), place, 0) for place in range(count)]
    vtm = 0
    for text, video, label in pairs:
        fused = written.fuse(texts[text], masks[text], videos[video])
        vtm = vtm + cross_entropy(written.head("vtm_head", fused[0]), label) / len(pairs)
    costs = []
    for place in range(count):
        masked = written.text(batch["mlm_input_ids"][place], masks[place])
        fused = written.fuse(masked, masks[place], videos[place])
        for position, label in enumerate(batch["mlm_labels"][place].tolist()):
            if label != -100:
                costs.append(cross_entropy(written.words(fused[position]), label))
    entities, prompter = [], WrittenOut(model.prompter)
    for place in range(count):
        left, top, right, bottom = (batch["crop_boxes"][place] // little.PATCH_SIZE).tolist()
        length = len(texts[place])
        fused = written.fuse(texts[place], masks[place], videos[place])
        side = little.IMAGE_SIZE // little.PATCH_SIZE
        inside = [
            fused[length + 1 + row * side + column] for row in range(top, bottom) for column in range(left, right)
        ]
        logits = two_layers(written.all, "pem_head", torch.stack(inside).mean(dim=0))
        crop = prompter.feature("video", prompter.video(batch["crop_pixel_values"][place])[0])
        soft = (model.prompter.video_prompts @ crop / prompter.towers["temperature"]).softmax(dim=0).detach()
        if soft.max() >= model.config.pem_threshold:
            entities.append(-(soft * logits.log_softmax(dim=0)).sum())
    return {
        "vtc_loss": vtc,
        "vtm_loss": vtm,
        "mlm_loss": sum(costs) / len(costs),
        "pem_loss": sum(entities) / len(entities),
        "kept": len(entities),
    }


def test_evaluation_losses_repeat_and_leave_the_generator_of_the_training_alone() -> None:
    model, batch = pretraining(), inputs()
    retrieval = little.lively(AlproForVideoTextRetrieval(model.config)).double()
    pairs = {name: batch[name] for name in ("pixel_values", "input_ids", "attention_mask")} | {"return_loss": True}
    for each, arguments in ((model, batch), (retrieval, pairs)):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        losses = {each(**arguments).vtm_loss.item() for _ in range(3)}
        assert len(losses) == 1
        assert torch.equal(torch.get_rng_state(), before)
        each.train()
        assert len({each(**arguments).vtm_loss.item() for _ in range(6)}) > 1  # sampled in training


def test_each_loss_and_its_gradients_equal_the_ones_by_hand() -> None:
    model, batch = pretraining(pem_threshold=0.4), inputs()
    output = model(**batch)
    similarities = output.video_embeds @ output.text_embeds.T / 0.3
    generator = torch.Generator().manual_seed(EVALUATION_SEED)
    expected = by_hand(model, batch, sample_hard_negatives(similarities, generator))
    assert expected.pop("kept") == 2  # of four, so that the threshold is seen to work
    parameters = {name: each for name, each in model.named_parameters() if each.requires_grad}
    assert not any(name.startswith("prompter") for name in parameters)
    for name, wanted in expected.items():
        found = output[name]
        torch.testing.assert_close(found, wanted, rtol=0, atol=1e-8)
        gradients = [
            torch.autograd.grad(each, list(parameters.values()), retain_graph=True, allow_unused=True)
            for each in (found, wanted)
        ]
        reached = 0
        for parameter, one, other in zip(parameters, *gradients, strict=True):
            zero = torch.zeros_like(parameters[parameter])
            torch.testing.assert_close(
                zero if one is None else one,
                zero if other is None else other,
                rtol=1e-6,
                atol=1e-8,
                msg=lambda text, at=parameter: f"{at}: {text}",
            )
            reached += bool(one is not None and one.any())
        assert reached > 20
    torch.testing.assert_close(output.loss, sum(expected.values()), rtol=0, atol=1e-8)


def test_the_legacy_threshold_is_reached_from_the_configuration() -> None:
    batch = inputs()
    model = pretraining(pem_threshold=0.4, legacy_pem_threshold=True)
    output = model(**batch)
    kept = output.entity_labels.argmax(dim=1) > 0
    costs = -(output.entity_labels * output.entity_logits.log_softmax(dim=1)).sum(dim=1)
    torch.testing.assert_close(output.pem_loss, costs[kept].mean())
    assert not torch.equal(kept, output.entity_labels.amax(dim=1) >= 0.4)


@pytest.mark.parametrize("training", [False, True])
def test_a_loss_without_its_inputs_is_none(training: bool) -> None:
    model, batch = pretraining().train(training), inputs()
    names = {"vtc_loss", "vtm_loss", "mlm_loss", "pem_loss"}

    def found(*left_out: str) -> set[str]:
        output = model(**{name: each for name, each in batch.items() if not name.startswith(left_out)})
        given = [output[name] for name in sorted(names) if output.get(name) is not None]
        if given:
            torch.testing.assert_close(output.loss, sum(given))
        else:
            assert output.loss is None
        return {name for name in names if getattr(output, name) is not None}

    assert found("-") == names
    assert found("mlm") == names - {"mlm_loss"}
    assert found("crop") == names - {"pem_loss"}
    assert found("mlm", "crop") == {"vtc_loss", "vtm_loss"}
    assert found("input_ids", "crop") == {"mlm_loss"}
    assert found("input_ids", "crop", "mlm") == set()


def test_a_batch_of_one_has_no_negatives_and_reports_it(caplog: pytest.LogCaptureFixture) -> None:
    model = pretraining()
    batch = inputs(1)
    output = model(**batch)
    assert output.vtc_loss == 0
    assert "video-text matching has no negatives" in caplog.text
    fused = model.alpro(batch["pixel_values"], batch["input_ids"], batch["attention_mask"]).last_hidden_state
    expected = cross_entropy(model.vtm_head(fused[0, 0]), 1)
    torch.testing.assert_close(output.vtm_loss, expected, rtol=0, atol=1e-9)
    output.loss.backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())
    assert output.loss.isfinite()


def test_no_masked_word_and_no_sure_crop_cost_nothing() -> None:
    model = pretraining(pem_threshold=0.999)
    batch = inputs()
    batch["mlm_labels"] = torch.full_like(batch["mlm_labels"], -100)
    output = model(**batch)
    assert output.mlm_loss == 0
    assert output.pem_loss == 0
    output.loss.backward()
    assert all(each.grad is None or each.grad.isfinite().all() for each in model.parameters())


def test_the_temperature_stays_within_its_bounds_and_learns_at_them() -> None:
    model = pretraining()
    for value, bound in ((0.9, 0.5), (-0.2, 0.001)):
        with torch.no_grad():
            model.alpro.temperature.fill_(value)
        model(**inputs()).vtc_loss.backward()
        assert model.alpro.temperature.item() == pytest.approx(bound)
        assert model.alpro.temperature.grad != 0
    fresh = AlproForPreTraining(little.config())
    assert fresh.alpro.temperature.item() == pytest.approx(0.07)


def test_retrieval_trains_by_contrast_and_matching_as_pretraining_does() -> None:
    model, batch = pretraining(), inputs()
    retrieval = AlproForVideoTextRetrieval(model.config).double().eval()
    retrieval.load_state_dict(model.state_dict(), strict=False)
    pair = {name: batch[name] for name in ("pixel_values", "input_ids", "attention_mask")}
    torch.manual_seed(2)
    expected = model(**pair)
    torch.manual_seed(2)
    output = retrieval(**pair, return_loss=True)
    torch.testing.assert_close(output.loss, expected.loss, rtol=0, atol=1e-12)
    torch.testing.assert_close(output.logits, retrieval(**pair).logits, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mlm_labels": None}, "mlm_input_ids and mlm_labels"),
        ({"crop_boxes": None}, "crop_pixel_values and crop_boxes"),
        ({"input_ids": None}, "Pass input_ids with the crops"),
        ({"pixel_values": torch.zeros(3, 2, 3, 32, 32)}, "4 texts and 3 videos"),
        ({"crop_boxes": torch.tensor([[0, 0, 7, 32]] * 4)}, "contains no patch"),
        ({"crop_boxes": torch.tensor([[0, 0, 40, 32]] * 4)}, "contains no patch of 8 pixels of a frame of 32"),
        ({"crop_boxes": torch.zeros(4, 2)}, r"\(batch, 4\)"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(changes: dict, message: str) -> None:
    batch = {name: each for name, each in (inputs() | changes).items() if each is not None}
    with pytest.raises(ValueError, match=message):
        pretraining()(**batch)


def test_crops_need_a_prompter() -> None:
    model = pretraining(num_entities=0)
    batch = inputs()
    with pytest.raises(ValueError, match="set_prompter"):
        model(**batch)
    del batch["crop_pixel_values"], batch["crop_boxes"]
    assert model(**batch).pem_loss is None
