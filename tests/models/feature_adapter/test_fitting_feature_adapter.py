"""Training of feature adapters on stored features, against slow references."""

import math

import pytest
import torch
from torch.nn import functional as F

from hf_prompt_models import FeatureAdapterForImageClassification
from hf_prompt_models.models.feature_adapter.configuration_feature_adapter import ADAPTER_TYPES
from hf_prompt_models.models.feature_adapter.fitting_feature_adapter import Support
from hf_prompt_models.models.feature_adapter.scale_search_feature_adapter import GRID, HeldOut, search_scales
from tests.models.feature_adapter.written_out import clap, lpp, taskres, tip_logits, unit


NAMES = ["red ring", "blue star", "green cross", "square"]


def new(adapter_type: str, **settings) -> FeatureAdapterForImageClassification:
    return FeatureAdapterForImageClassification.from_backbone(
        "playground", NAMES, adapter_type=adapter_type, **settings
    )


def examples(model, shots: int = 3, views: int | None = None, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Features around the text features of their class, of various lengths, in mixed order."""
    generator = torch.Generator().manual_seed(seed)
    width = model.adapter.weight.shape[1] if model.config.adapter_type == "prolip" else model.image_feature_size
    labels = torch.arange(4 * shots)[torch.randperm(4 * shots, generator=generator)] % 4
    centres = torch.randn(4, width, generator=generator)
    shape = (len(labels), width) if views is None else (views, len(labels), width)
    images = 0.5 * centres[labels] + torch.randn(shape, generator=generator)
    return images * (1 + torch.rand(*shape[:-1], 1, generator=generator)), labels


def scale_of(model) -> float:
    return model.clip.logit_scale.exp().item()


@pytest.mark.parametrize("penalised", [True, False])
def test_class_weights_equal_the_reference_after_300_epochs(penalised: bool) -> None:
    model = new("clap" if penalised else "linear")
    images, labels = examples(model)
    expected = clap(images, labels, model.text_base(), scale_of(model), penalised=penalised)
    assert model.fit_features(images, labels) == {}
    torch.testing.assert_close(model.adapter.weight.detach(), expected, rtol=1e-3, atol=1e-4)
    assert (expected - model.text_base()).norm() > 0.1  # training changes the weights


@pytest.mark.parametrize(("shots", "epochs"), [(4, 100), (5, 200)])
def test_residual_equals_the_reference(shots: int, epochs: int) -> None:
    model = new("taskres")
    images, labels = examples(model, shots)
    assert model.fit_features(images, labels) == {"alpha": 0.5}
    expected = taskres(images, labels, model.text_base(), scale_of(model), epochs=epochs)
    torch.testing.assert_close(model.adapter.residual.detach(), expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("accumulated", [False, True])
def test_text_weighted_probe_equals_the_reference(accumulated: bool) -> None:
    model = new("lp++", legacy_accumulated_gradient=accumulated).double()
    images, labels = (each.double() if each.is_floating_point() else each for each in examples(model))
    model.fit_features(images, labels)
    weight, bias, text_weight = lpp(images, labels, model.text_base().double(), accumulated=accumulated)
    torch.testing.assert_close(model.adapter.weight.detach(), weight, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(model.adapter.bias.detach(), bias, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(model.adapter.text_weight.detach(), text_weight, rtol=1e-3, atol=1e-6)


def test_order_of_the_images_does_not_matter_in_one_batch() -> None:
    for adapter_type in ("clap", "linear", "taskres", "lp++", "prolip"):
        model = new(adapter_type)
        images, labels = examples(model)
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1))
        model.fit_features(images, labels)
        first = {name: tensor.clone() for name, tensor in model.adapter.state_dict().items()}
        model.fit_features(images[order], labels[order])
        for name, tensor in model.adapter.state_dict().items():
            torch.testing.assert_close(tensor, first[name], rtol=1e-3, atol=1e-4)


def test_fitting_starts_over_each_time() -> None:
    for adapter_type in sorted(set(ADAPTER_TYPES) - {"clip_adapter"}):
        model = new(adapter_type)
        images, labels = examples(model)
        chosen = model.fit_features(images, labels)
        first = {name: tensor.clone() for name, tensor in model.adapter.state_dict().items()}
        model.fit_features(*examples(model, 5, seed=3))
        assert model.fit_features(images, labels) == chosen
        for name, tensor in model.adapter.state_dict().items():
            torch.testing.assert_close(tensor, first[name], rtol=0, atol=0)


def test_clap_reads_as_many_batches_as_one_view_fills() -> None:
    support = Support(torch.arange(3 * 10).view(3, 10, 1).float(), torch.arange(10), 10)
    torch.manual_seed(0)
    batches = list(support.row_batches(4))
    assert [len(labels) for _, labels in batches] == [4, 4]
    rows = torch.cat([images[:, 0] for images, _ in batches])
    assert len(rows.unique()) == 8  # without replacement, of all views
    assert torch.equal(torch.cat([labels for _, labels in batches]), (rows % 10).long())
    (batch,) = support.row_batches(16)
    assert len(batch[1]) == 16
    single = Support(support.features[:1], support.labels, 10)
    ((images, labels),) = single.row_batches(16)
    assert torch.equal(images[:, 0].long(), labels)


def test_batches_of_images_have_one_view_of_each() -> None:
    support = Support(torch.arange(3 * 10).view(3, 10, 1).float(), torch.arange(10), 10)
    torch.manual_seed(0)
    batches = list(support.image_batches(4, drop_last=False))
    assert [len(labels) for _, labels in batches] == [4, 4, 2]
    assert torch.cat([labels for _, labels in batches]).sort().values.tolist() == list(range(10))
    assert all(torch.equal(images[:, 0].long() % 10, labels) for images, labels in batches)
    assert [len(labels) for _, labels in support.image_batches(4, drop_last=True)] == [4, 4]
    assert [len(labels) for _, labels in support.image_batches(16, drop_last=True)] == [10]


# -- Tip-Adapter -----------------------------------------------------------------------------------------------------


def test_keys_are_the_normalised_mean_of_the_views_as_given() -> None:
    model = new("tip_adapter")
    images, labels = examples(model, views=3)
    model.fit_features(images, labels)
    torch.testing.assert_close(model.adapter.keys.detach(), unit(images.mean(dim=0)), rtol=1e-5, atol=1e-6)
    assert model.config.key_labels == labels.tolist()


def accuracy(model, keys, key_labels, images, labels, alpha: float, beta: float) -> float:
    text = model.text_base()
    right = 0
    for image, label in zip(images, labels, strict=True):
        logits = tip_logits(unit(image), keys, key_labels, text, scale_of(model), alpha, beta)
        right += int(logits.argmax()) == int(label)
    return right / len(labels)


def test_settings_have_the_best_accuracy_on_validation_images() -> None:
    model = new("tip_adapter")
    images, labels = examples(model, 2)
    held_out, held_out_labels = examples(model, 5, seed=8)
    chosen = model.fit_features(images, labels, validation=(held_out, held_out_labels))
    tried = [(alpha, beta) for alpha in (0.1, 1.0, 5.0, 20.0, 50.0) for beta in (0.1, 1.0, 5.0, 20.0, 50.0)]
    keys = unit(images)
    found = accuracy(model, keys, labels, held_out, held_out_labels, **chosen)
    assert found >= max(accuracy(model, keys, labels, held_out, held_out_labels, *each) for each in tried)
    assert (model.config.alpha, model.config.beta) == (chosen["alpha"], chosen["beta"])


def test_search_counts_every_alpha_as_a_reference_does() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, similarities = torch.randn(30, 4, generator=generator) * 4, torch.rand(30, 12, generator=generator)
    key_labels, labels = torch.arange(12) % 4, torch.randint(4, (30,), generator=generator)
    held_out = HeldOut(logits, similarities, key_labels, labels)
    for beta in (0.5, 5.0, 40.0):
        votes = torch.exp(-beta * (1 - similarities)) @ F.one_hot(key_labels, 4).float()
        best = max(((logits + alpha * votes).argmax(-1) == labels).sum() for alpha in GRID.tolist())
        chosen = search_scales([held_out], beta=beta)
        assert chosen is not None
        found = ((logits + chosen["alpha"] * votes).argmax(-1) == labels).sum()
        assert abs(int(found) - int(best)) <= (0 if beta > 1 else 1)  # rounding at the end of an interval
        assert chosen["beta"] == beta


def test_grid_holds_the_released_values_and_reaches_50() -> None:
    assert GRID.max() == 50
    released = [i * (50 - 0.1) / 200 + 0.1 for i in range(200)]
    assert all((GRID - value).abs().min() < 1e-4 for value in released)


def test_an_image_is_never_scored_with_itself_in_the_cache() -> None:
    # Features that say nothing about the class: with itself in the cache, every image would be recognised by a large
    # alpha and beta. Without, these are worse than the text, which is right for each image.
    model = new("tip_adapter")
    generator = torch.Generator().manual_seed(0)
    text = model.text_base()
    labels = torch.arange(40) % 4
    images = unit(unit(torch.randn(40, text.shape[1], generator=generator)) + 0.35 * text[labels])
    own = labels[torch.randperm(40, generator=generator)]
    chosen = model.fit_features(images, own)
    keys = unit(images)
    own_accuracy = [
        int(
            tip_logits(
                image, keys[torch.arange(40) != i], own[torch.arange(40) != i], text, scale_of(model), **chosen
            ).argmax()
        )
        == int(own[i])
        for i, image in enumerate(keys)
    ]
    for alpha, beta in ((50.0, 50.0), (50.0, 5.0), (1.0, 1.0)):
        other = [
            int(
                tip_logits(
                    image, keys[torch.arange(40) != i], own[torch.arange(40) != i], text, scale_of(model), alpha, beta
                ).argmax()
            )
            == int(own[i])
            for i, image in enumerate(keys)
        ]
        assert sum(own_accuracy) >= sum(other)


@pytest.mark.parametrize("adapter_type", ["tip_adapter", "tip_adapter_f"])
def test_given_settings_are_not_searched(adapter_type: str) -> None:
    model = new(adapter_type, alpha=2.0)
    images, labels = examples(model)
    chosen = model.fit_features(images, labels)
    assert chosen["alpha"] == 2.0
    assert chosen["beta"] in GRID.tolist()
    both = new(adapter_type, alpha=2.0, beta=3.0)
    assert both.fit_features(images, labels) == {"alpha": 2.0, "beta": 3.0}


@pytest.mark.parametrize("adapter_type", ["tip_adapter", "tip_adapter_f"])
def test_one_image_per_class_leaves_the_released_settings(adapter_type: str) -> None:
    model = new(adapter_type)
    assert model.fit_features(*examples(model, 1)) == {"alpha": 1.17, "beta": 1.0}


def test_keys_are_trained_as_the_reference_trains_them() -> None:
    model = new("tip_adapter_f", alpha=2.0, beta=3.0)
    images, labels = examples(model)
    keys = unit(images).clone().requires_grad_()
    optimizer = torch.optim.AdamW([keys], lr=1e-3, eps=1e-4, weight_decay=0.01)
    text, scale = model.text_base(), scale_of(model)
    for step in range(20):
        optimizer.param_groups[0]["lr"] = 1e-3 * 0.5 * (1 + math.cos(math.pi * step / 20))
        affinities = (-3.0 * (1 - unit(images) @ keys.T)).exp()
        logits = scale * unit(images) @ text.T + 2.0 * affinities @ F.one_hot(labels, 4).float()
        optimizer.zero_grad()
        F.cross_entropy(logits, labels).backward()
        optimizer.step()
    model.fit_features(images, labels)
    torch.testing.assert_close(model.adapter.keys.detach(), keys.detach(), rtol=1e-3, atol=1e-5)


# -- the other types and the input -----------------------------------------------------------------------------------


def test_projection_is_trained_as_the_reference_trains_it() -> None:
    model = new("prolip")
    images, labels = examples(model, views=2)
    start, text, scale = model.clip.visual_projection.weight.detach(), model.text_base(), scale_of(model)
    weight = start.clone().requires_grad_()
    optimizer = torch.optim.Adam([weight], lr=1e-4, eps=1e-4)
    for step in range(300):
        optimizer.param_groups[0]["lr"] = 1e-4 * 0.5 * (1 + math.cos(math.pi * step / 300))
        loss = F.cross_entropy(scale * unit(images[step % 2] @ weight.T) @ text.T, labels)
        loss = loss + ((weight - start) ** 2).sum() / 3
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.fit_features(images, labels)
    torch.testing.assert_close(model.adapter.weight.detach(), weight.detach(), rtol=1e-3, atol=1e-5)
    assert torch.equal(model.clip.visual_projection.weight, start)


@pytest.mark.parametrize("adapter_type", ADAPTER_TYPES)
def test_training_lowers_the_loss_and_leaves_the_backbone_unchanged(adapter_type: str) -> None:
    torch.manual_seed(0)
    model = new(adapter_type)
    before = {name: tensor.clone() for name, tensor in model.clip.state_dict().items()}
    images, labels = examples(model, views=2)
    with torch.no_grad():
        start = model(image_embeds=images[0], labels=labels).loss
    with torch.inference_mode():
        model.fit_features(images.clone(), labels)
        end = model(image_embeds=images[0], labels=labels).loss
    assert end < start
    assert all(torch.equal(before[name], tensor) for name, tensor in model.clip.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("adapter_type", sorted(set(ADAPTER_TYPES) - {"tip_adapter"}))
def test_validation_images_select_the_best_epoch(adapter_type: str) -> None:
    torch.manual_seed(0)
    model = new(adapter_type)
    images, labels = examples(model)
    validation = examples(model, 6, seed=9)
    chosen = model.fit_features(images, labels, validation=validation)
    with torch.no_grad():
        accuracy_ = (model(image_embeds=validation[0]).logits.argmax(-1) == validation[1]).double().mean()
        assert chosen["epoch"] >= 1
        torch.manual_seed(0)
        model.fit_features(images, labels)
        last = (model(image_embeds=validation[0]).logits.argmax(-1) == validation[1]).double().mean()
    assert accuracy_ >= last


@pytest.mark.parametrize("adapter_type", sorted(set(ADAPTER_TYPES) - {"clip_adapter", "prolip"}))
def test_class_without_images_is_refused_by_name(adapter_type: str) -> None:
    model = new(adapter_type)
    images, labels = examples(model)
    with pytest.raises(ValueError, match=r"1 classes have no training images.*: green cross"):
        model.fit_features(images[labels != 2], labels[labels != 2])


@pytest.mark.parametrize("adapter_type", ["clip_adapter", "prolip"])
def test_text_driven_types_accept_classes_without_images(adapter_type: str) -> None:
    model = new(adapter_type)
    images, labels = examples(model)
    model.fit_features(images[labels != 2], labels[labels != 2])
    assert model(image_embeds=images).logits.shape == (12, 4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda images, labels: (images[:, :-1], labels), "must be of shape"),
        (lambda images, labels: (images, labels[:-1]), "one class index per image"),
        (lambda images, labels: (images, labels.float()), "one class index per image"),
        (lambda images, labels: (images, labels + 1), "Labels must be from 0 to 3"),
        (lambda images, labels: (images, labels - 1), "Labels must be from 0 to 3"),
        (lambda images, labels: (images * float("nan"), labels), "not finite"),
        (lambda images, labels: (images[:0], labels[:0]), "one class index per image"),
    ],
)
def test_wrong_features_are_refused(change, message: str) -> None:
    model = new("clap")
    with pytest.raises(ValueError, match=message):
        model.fit_features(*change(*examples(model)))


def test_settings_of_the_loop_can_be_given() -> None:
    model = new("linear")
    images, labels = examples(model)
    seen = []
    model.fit_features(
        images, labels, learning_rate=0.0, num_epochs=3, batch_size=4, on_epoch=lambda *each: seen.append(each)
    )
    assert [epoch for epoch, _, _ in seen] == [1, 2, 3]
    assert [rate for _, _, rate in seen] == [1e-5, 0.0, 0.0]
    torch.testing.assert_close(model.adapter.weight.detach(), model.text_base(), rtol=0, atol=1e-3)
