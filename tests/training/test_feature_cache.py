"""Cached image features are never those of other settings and never damaged, even if processes share the cache."""

import json
import multiprocessing
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification
from hf_prompt_models.data.images.dataset import (
    AugmentedImageDataset,
    AugmentedViewDataset,
    ImageDataset,
    ViewFeatureDataset,
)
from hf_prompt_models.data.images.labelled import LabelledImages, read_labelled_images
from hf_prompt_models.tasks.image_classification.features import compute_image_features, compute_view_features
from hf_prompt_models.training.feature_cache import FeatureCache, open_feature_cache
from tests.full_disk import full_disk
from tests.pictures import write_pictures


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> LabelledImages:
    return read_labelled_images(write_pictures(tmp_path_factory.mktemp("images"), {"a": 4, "b": 3}), "train")


@pytest.fixture(scope="module")
def model(modern_clip: Path) -> ClipZeroShotForImageClassification:
    return ClipZeroShotForImageClassification.from_backbone(modern_clip, ["a", "b"])


class CountedModel:
    """A model that counts the images it sees."""

    def __init__(self, model: ClipZeroShotForImageClassification):
        self.model = model
        self.device, self.image_dtype = model.device, model.image_dtype
        self.seen = 0

    def encode_images(self, pixel_values: torch.Tensor):
        self.seen += len(pixel_values)
        return self.model.encode_images(pixel_values)


def features(model, images: LabelledImages, cache: FeatureCache | None) -> tuple[torch.Tensor, int]:
    """Return the features of images, and how many were computed."""
    counted = CountedModel(model)
    dataset = ImageDataset(images, model.processor.image_processor)
    computed = compute_image_features(counted, dataset, batch_size=3, progress=False, cache=cache)
    assert computed.labels.tolist() == list(images.labels)
    return computed.image_embeds, counted.seen


@pytest.fixture
def cache(model, tmp_path: Path) -> FeatureCache:
    return open_feature_cache(tmp_path / "cache", model, model.processor.image_processor)


def alone(model, images: LabelledImages) -> torch.Tensor:
    """Each image by itself through processor and tower."""
    rows = []
    for index in range(len(images)):
        pixels = model.processor(images=images.load(index), return_tensors="pt")
        rows.append(model.encode_images(**pixels).pooler_output)
    return torch.cat(rows).detach()


def test_features_are_computed_once_and_are_the_same(model, images: LabelledImages, cache: FeatureCache) -> None:
    first, computed = features(model, images, cache)
    assert computed == 7
    torch.testing.assert_close(first, alone(model, images), rtol=0, atol=1e-6)
    again, computed = features(model, images, cache)
    assert computed == 0
    assert torch.equal(first, again)


def test_other_orders_subsets_and_copies_of_the_images_are_found(
    model, images: LabelledImages, cache: FeatureCache, tmp_path: Path
) -> None:
    all_of_them, _ = features(model, images, cache)
    order = [5, 0, 5, 3]
    some, computed = features(model, images.select(order), cache)
    assert computed == 0
    assert torch.equal(some, all_of_them[order])
    shutil.copytree(images.source, tmp_path / "elsewhere")
    copied, computed = features(model, read_labelled_images(tmp_path / "elsewhere", "train"), cache)
    assert computed == 0
    assert torch.equal(copied, all_of_them)


def test_a_file_with_other_content_under_the_same_name_is_computed(
    model, images: LabelledImages, cache: FeatureCache, tmp_path: Path
) -> None:
    shutil.copytree(images.source, tmp_path / "copy")
    copy = read_labelled_images(tmp_path / "copy", "train")
    features(model, copy, cache)
    shutil.copy(tmp_path / "copy" / "a" / "001.png", tmp_path / "copy" / "b" / "000.png")
    shutil.copy(write_pictures(tmp_path / "new", {"c": 1}, seed=5) / "c" / "000.png", tmp_path / "copy" / "a")
    after, computed = features(model, copy, cache)
    assert computed == 1  # the new image; the copied one is in the cache
    torch.testing.assert_close(after, alone(model, copy), rtol=0, atol=1e-6)


@pytest.mark.parametrize("is_removed", [False, True])
def test_features_of_a_file_that_is_replaced_meanwhile_are_not_kept_under_what_it_held(
    model,
    images: LabelledImages,
    cache: FeatureCache,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    is_removed: bool,
) -> None:
    shutil.copytree(images.source, tmp_path / "copy")
    copy = read_labelled_images(tmp_path / "copy", "train")
    first, last = tmp_path / "copy" / "a" / "000.png", tmp_path / "copy" / "b" / "002.png"
    earlier, read = first.read_bytes(), cache.read
    with monkeypatch.context() as patch:
        patch.setattr(cache, "read", lambda keys: (first.write_bytes(last.read_bytes()), read(keys))[1])
        if is_removed:
            patch.setattr(ImageDataset, "key", removing(ImageDataset.key, last, calls=len(copy)))
        features(model, copy, cache)
    first.write_bytes(earlier)
    if is_removed:
        shutil.copy(Path(images.source) / "b" / "002.png", last)
    again, computed = features(model, copy, cache)
    assert computed == 1 + is_removed
    torch.testing.assert_close(again, alone(model, copy), rtol=0, atol=1e-6)


def removing(key, file: Path, calls: int):
    """A method that removes a file once it was called for every item."""
    called = 0

    def of(dataset: ImageDataset, index: int) -> bytes:
        nonlocal called
        called += 1
        if called > calls:
            file.unlink(missing_ok=True)
        return key(dataset, index)

    return of


def test_equal_images_are_computed_once(model, images: LabelledImages, cache: FeatureCache) -> None:
    twice, computed = features(model, images.select([2, 2, 1, 2]), cache)
    assert computed == 2
    assert torch.equal(twice[0], twice[3])


def _smaller(model, processor):
    processor.size = {"shortest_edge": 300}


def _unnormalised(model, processor):
    processor.do_normalize = False


def _other_mean(model, processor):
    processor.image_mean = [0.5, 0.5, 0.5]


def _one_weight_in_the_middle(model, processor):
    with torch.no_grad():
        model.clip.vision_model.encoder.layers[0].mlp.fc1.weight[3, 2] += 0.5


def _half_precision(model, processor):
    model.to(torch.bfloat16)


def _other_attention(model, processor):
    model.set_attn_implementation("eager")


@pytest.mark.parametrize(
    "change",
    [_smaller, _unnormalised, _other_mean, _one_weight_in_the_middle, _half_precision, _other_attention],
    ids=lambda f: f.__name__,
)
def test_features_of_one_setting_are_never_used_under_another(
    modern_clip: Path, images: LabelledImages, tmp_path: Path, change
) -> None:
    def opened() -> FeatureCache:
        return open_feature_cache(tmp_path, model, model.processor.image_processor)

    model = ClipZeroShotForImageClassification.from_backbone(modern_clip, ["a", "b"])
    features(model, images, opened())
    change(model, model.processor.image_processor)
    _, computed = features(model, images, opened())
    assert computed == 7
    _, computed = features(model, images, opened())
    assert computed == 0


def test_models_that_differ_in_the_prompt_alone_share_features(
    modern_clip: Path, model, images: LabelledImages, cache: FeatureCache, tmp_path: Path
) -> None:
    features(model, images, cache)
    other = CoOpForImageClassification.from_backbone(modern_clip, ["x", "y", "z"], n_ctx=2)
    shared = open_feature_cache(tmp_path / "cache", other, other.processor.image_processor)
    assert features(other, images, shared)[1] == 0


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def _cut_to_the_header(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:60])


def _empty(file: Path) -> None:
    file.write_bytes(b"")


def _zeros_where_a_crash_lost_a_page(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-200:] = bytes(200)
    file.write_bytes(content)


def _one_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-50] ^= 1
    file.write_bytes(content)


def _another_picture_s_key(file: Path) -> None:
    tensors = load_file(file)
    save_file({**tensors, "keys": tensors["keys"].flip(0).contiguous()}, file)


@pytest.mark.parametrize(
    "damage",
    [_cut, _cut_to_the_header, _empty, _zeros_where_a_crash_lost_a_page, _one_bit, _another_picture_s_key],
    ids=lambda f: f.__name__,
)
def test_a_damaged_file_is_repaired_not_trusted(
    model, images: LabelledImages, cache: FeatureCache, damage, caplog: pytest.LogCaptureFixture
) -> None:
    expected, _ = features(model, images, cache)
    (file,) = cache.directory.glob("*.safetensors")
    damage(file)
    again, computed = features(model, images, cache)
    assert computed == 7
    torch.testing.assert_close(again, expected, rtol=0, atol=1e-6)
    assert str(file) in caplog.text
    assert features(model, images, cache)[1] == 0


def test_a_stopped_run_resumes_where_it_was(
    model, images: LabelledImages, cache: FeatureCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hf_prompt_models.training.feature_cache.CACHED_AT_A_TIME", 3)
    written = cache.write

    def stop_at_the_third(keys: Sequence[bytes], computed: torch.Tensor) -> None:
        if len(list(cache.directory.glob("*.safetensors"))) == 2:
            raise KeyboardInterrupt
        written(keys, computed)

    monkeypatch.setattr(cache, "write", stop_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        features(model, images, cache)
    monkeypatch.undo()
    resumed, computed = features(model, images, cache)
    assert computed == 7 - 2 * 3
    torch.testing.assert_close(resumed, alone(model, images), rtol=0, atol=1e-6)


def _fill(directory: str, start: int) -> None:
    torch.set_num_threads(1)
    cache = FeatureCache(directory, {"for": "a test"})
    for number in range(start, start + 40):
        key = number.to_bytes(32, "big")
        if key not in cache.read([key]):
            cache.write([key], torch.full((1, 5), float(number)))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_processes_share_a_cache(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")  # spawned ones would spend their time on imports
    processes = [context.Process(target=_fill, args=(str(tmp_path), start)) for start in (0, 20)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    keys = [number.to_bytes(32, "big") for number in range(60)]
    found = FeatureCache(tmp_path, {"for": "a test"}).read(keys)
    assert [found[key].tolist() for key in keys] == [[float(number)] * 5 for number in range(60)]
    assert not list(tmp_path.glob("*/.*"))


def test_a_full_disk_is_reported_once_and_the_run_continues(
    model,
    images: LabelledImages,
    cache: FeatureCache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr("hf_prompt_models.training.feature_cache.CACHED_AT_A_TIME", 2)
    with full_disk(100):
        computed, count = features(model, images, cache)
    assert count == 7
    torch.testing.assert_close(computed, alone(model, images), rtol=0, atol=1e-6)
    (record,) = caplog.records
    assert record.message.startswith(f"Cannot write '{cache.directory}/setting.json': ")
    assert "Continuing without" in record.message
    assert not [path for path in cache.directory.rglob("*") if path.name != "setting.json"]


def test_what_a_killed_process_left_is_removed_when_nobody_can_still_write_it(tmp_path: Path) -> None:
    cache = FeatureCache(tmp_path, {"for": "a test"})
    cache.write([bytes(32)], torch.zeros(1, 5))
    old, young = cache.directory / ".saving-old", cache.directory / ".saving-young"
    for path in (old, young):
        path.mkdir()
        (path / "half.safetensors").write_bytes(b"half")
    os.utime(old, (0, 0))
    cache.write([bytes(31) + b"1"], torch.ones(1, 5))
    assert not old.exists()
    assert young.exists()
    assert len(cache.read([bytes(32), bytes(31) + b"1"])) == 2


KEYS = [number.to_bytes(32, "big") for number in range(3)]


def _cache_of_three(directory: Path) -> FeatureCache:
    cache = FeatureCache(directory, {"for": "a test"})
    for number, key in enumerate(KEYS):
        cache.write([key], torch.full((1, 5), float(number)))
    return cache


def test_a_file_that_is_gone_when_it_is_read_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache, listed = _cache_of_three(tmp_path), os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: [*listed(path), "gone.safetensors"])
    assert set(cache.read(KEYS)) == set(KEYS)
    monkeypatch.setattr(os, "listdir", lambda path: (listed(path), shutil.rmtree(path))[0])
    assert cache.read(KEYS) == {}
    assert cache.read(KEYS) == {}
    assert not caplog.records


@pytest.mark.parametrize("call", range(1, 7))
def test_a_cache_that_is_emptied_while_it_is_written_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, call: int
) -> None:
    """`call`: before which call of the system the other process removes the cache."""
    cache, calls = FeatureCache(tmp_path / "cache", {"for": "a test"}), 0

    def intruded(function):
        def called(*arguments, **settings):
            nonlocal calls
            calls += 1
            if calls == call:
                shutil.rmtree(tmp_path / "cache", ignore_errors=True)
            return function(*arguments, **settings)

        return called

    for name in ("mkdir", "open", "replace"):
        monkeypatch.setattr(os, name, intruded(getattr(os, name)))
    cache.write(KEYS[:1], torch.ones(1, 5))
    monkeypatch.undo()
    assert cache.read(KEYS)[KEYS[0]].tolist() == [1.0] * 5
    assert not caplog.records


def test_a_cache_that_cannot_be_listed_is_reported_and_its_features_are_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(path: Path) -> list[str]:
        raise PermissionError(13, "Permission denied")

    cache = _cache_of_three(tmp_path)
    monkeypatch.setattr(os, "listdir", refuse)
    assert cache.read(KEYS) == {}
    assert caplog.messages == [f"Cannot read the feature cache {cache.directory} (Permission denied)."]


def test_a_setting_is_recorded_for_people(cache: FeatureCache, model, images: LabelledImages) -> None:
    features(model, images, cache)
    setting = json.loads((cache.directory / "setting.json").read_text())
    assert setting["image_processor"]["crop_size"] == {"height": 224, "width": 224}


def test_off_means_no_cache(model) -> None:
    assert open_feature_cache("off", model, model.processor.image_processor) is None


# -- augmented views -------------------------------------------------------------------------------------------------


def test_views_are_sampled_once_and_differ(model, images: LabelledImages) -> None:
    dataset = AugmentedViewDataset(3, images, model.processor.image_processor, seed=1, min_crop_area=0.3)
    assert len(dataset) == 21
    assert dataset.labels.tolist() == [label for label in images.labels for _ in range(3)]
    one, again = dataset[4]["pixel_values"], dataset[4]["pixel_values"]
    assert torch.equal(one, again)
    assert not torch.equal(one, dataset[5]["pixel_values"])
    reordered = AugmentedViewDataset(3, images.select([6, 1]), model.processor.image_processor, 1, 0.3)
    assert torch.equal(one, reordered[4]["pixel_values"])  # whatever its place in a sample


def test_views_have_a_key_for_everything_that_is_sampled(model, images: LabelledImages) -> None:
    def keys(views: int = 2, seed: int = 1, area: float = 0.3) -> list[bytes]:
        dataset = AugmentedViewDataset(views, images, model.processor.image_processor, seed, area)
        return [dataset.key(index) for index in range(len(dataset))]

    assert keys(seed=2) == keys()  # the seeds of a run share their features

    plain = ImageDataset(images, model.processor.image_processor)
    everything = [*keys(), *keys(area=0.4), *(plain.key(index) for index in range(7))]
    assert len(set(everything)) == len(everything)
    assert set(keys(views=2)) < set(keys(views=3))  # more views add to those that are there


def test_each_epoch_draws_one_of_the_views(model, images: LabelledImages, cache: FeatureCache) -> None:
    views = AugmentedViewDataset(4, images, model.processor.image_processor, seed=1)
    embeds = compute_image_features(model, views, progress=False, cache=cache).image_embeds.unflatten(0, (-1, 4))
    dataset = ViewFeatureDataset(embeds, torch.tensor(images.labels), seed=3)
    drawn = set()
    for epoch in range(30):
        dataset.set_epoch(epoch)
        item = dataset[2]
        assert torch.equal(item["image_embeds"], dataset[2]["image_embeds"])
        assert item["labels"] == images.labels[2]
        (view,) = [v for v in range(4) if torch.equal(item["image_embeds"], embeds[2, v])]
        drawn.add(view)
    assert drawn == {0, 1, 2, 3}


def test_kept_features_of_crops_are_those_of_each_images_crops(model, images: LabelledImages) -> None:
    crops = AugmentedViewDataset(3, images, model.processor.image_processor, seed=1, min_crop_area=0.3)
    dataset = compute_view_features(model, crops, batch_size=4, progress=False)
    assert (len(dataset), dataset.labels.tolist(), dataset.seed) == (7, list(images.labels), 1)
    for image, view in ((0, 2), (5, 1)):
        with torch.no_grad():
            expected = model.encode_images(crops[3 * image + view]["pixel_values"][None]).pooler_output[0]
        torch.testing.assert_close(dataset.view_embeds[image, view], expected)


def test_a_view_is_a_crop_as_training_draws_them(model, images: LabelledImages) -> None:
    processor = model.processor.image_processor
    shapes = {AugmentedImageDataset(images, processor)[0]["pixel_values"].shape}
    shapes.add(AugmentedViewDataset(1, images, processor)[0]["pixel_values"].shape)
    assert shapes == {(3, 224, 224)}
