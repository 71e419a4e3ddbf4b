"""Training on `datasets`: from Arrow files of which only batches are read, and from streams."""

import io
import os
import tracemalloc
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from transformers import TrainingArguments

from hf_prompt_models import CoOpForImageClassification
from hf_prompt_models.data.images.loading import UnreadableImageError
from hf_prompt_models.data.streaming import EndlessStream, ImageCollator, decoded, undecoded
from hf_prompt_models.training.trainer import PromptTrainer
from hf_prompt_models.utils.schedule import epoch_cosine_learning_rate
from tests.prefix_lm.backbones import make
from tests.programs import IN_TWO_PROCESSES, run_program
from tests.tested_method import random_image
from tests.training import train_from_stream


ROOT = Path(__file__).parents[2]
NAMES = ["cat", "dog"]
FEATURES = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=NAMES)})


def png(seed: int, padding: int = 0) -> bytes:
    file = io.BytesIO()
    random_image(seed, (48, 40)).save(file, format="PNG")
    return file.getvalue() + bytes(padding)  # readers end at the image's end


def rows(count: int, padding: int = 0, readable: int | None = None) -> Any:
    for index in range(count):
        content = png(index, padding) if readable is None or index < readable else b"no image" * 8 + bytes(padding)
        yield {"image": {"bytes": content, "path": None}, "label": index % 2}


def saved(folder: Path, count: int, padding: int = 0, readable: int | None = None) -> datasets.Dataset:
    data = datasets.Dataset.from_generator(
        rows,
        features=FEATURES,
        gen_kwargs={"count": count, "padding": padding, "readable": readable},
        cache_dir=str(folder / "cache"),
    )
    data.save_to_disk(str(folder / "saved"))
    return datasets.load_from_disk(str(folder / "saved"))


def trainer_of(backbone: Path, data: Any, output_dir: Path, **settings: Any) -> PromptTrainer:
    torch.manual_seed(0)
    model = CoOpForImageClassification.from_backbone(backbone, NAMES, n_ctx=2)
    arguments = {
        "output_dir": str(output_dir),
        "optim": "sgd",
        "learning_rate": 0.02,
        "max_steps": 5,
        "per_device_train_batch_size": 2,
        "logging_steps": 1,
        "save_strategy": "no",
        "remove_unused_columns": False,
        "disable_tqdm": True,
        "report_to": "none",
        "use_cpu": True,
    }
    collator = ImageCollator(model.processor.image_processor)
    arguments = TrainingArguments(**arguments | settings)
    return PromptTrainer(model=model, args=arguments, train_dataset=data, data_collator=collator)


def losses(trainer: PromptTrainer) -> list[float]:
    return [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_of_a_data_set_on_disk_the_batches_alone_are_read_and_decoded(modern_clip: Path, tmp_path: Path) -> None:
    """40 MB of which all but the first 12 images cannot be decoded, and are not looked at."""
    data = undecoded(saved(tmp_path, 40, padding=2**20, readable=12))
    assert data.data.nbytes > 40 * 2**20
    trainer = trainer_of(modern_clip, data, tmp_path / "run", train_sampling_strategy="sequential")
    held = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    trainer.train()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10 * 2**20  # two batches, and copies of theirs
    assert pyarrow.total_allocated_bytes() - held < 2**20
    in_memory = list(rows(12))
    alike = trainer_of(modern_clip, in_memory, tmp_path / "list", train_sampling_strategy="sequential")
    alike.train()
    assert losses(trainer) == losses(alike)
    assert len(set(losses(trainer))) > 1
    with pytest.raises(UnreadableImageError, match="of a row"):
        trainer_of(modern_clip, data, tmp_path / "longer", train_sampling_strategy="sequential", max_steps=6).train()


def test_a_stream_trains_what_its_rows_in_order_do(modern_clip: Path, tmp_path: Path) -> None:
    """Batches of 4 rows cross the borders between passes of 6 rows."""
    data = saved(tmp_path, 6)
    settings = {"per_device_train_batch_size": 4, "max_steps": 6}
    streamed = trainer_of(modern_clip, undecoded(data.to_iterable_dataset()), tmp_path / "stream", **settings)
    streamed.train()
    in_order = datasets.concatenate_datasets([data] * 4)  # decoded by `datasets`
    alike = trainer_of(
        modern_clip, in_order, tmp_path / "list", train_sampling_strategy="sequential", **settings, num_train_epochs=1
    )
    alike.steps_per_epoch = lambda: 1
    alike.train()
    assert losses(streamed) == losses(alike)
    rates = [entry["learning_rate"] for entry in streamed.state.log_history if "learning_rate" in entry]
    assert rates == pytest.approx([epoch_cosine_learning_rate(step, 6, 0.02) for step in range(6)], rel=1e-9)


def test_without_max_steps_a_stream_is_refused(modern_clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="max_steps"):
        trainer_of(modern_clip, saved(tmp_path, 2).to_iterable_dataset(), tmp_path / "run", max_steps=-1)


def numbers(count: int) -> Any:
    for number in range(count):
        yield {"number": number}


@pytest.mark.filterwarnings("ignore:Too many dataloader workers")  # logged by `datasets`
@pytest.mark.parametrize(("num_workers", "num_shards"), [(0, 2), (2, 2), (2, 1)])
def test_each_pass_of_a_stream_has_every_row_once_in_an_order_of_its_own(num_workers: int, num_shards: int) -> None:
    stream = datasets.Dataset.from_dict({"number": list(range(12))}).to_iterable_dataset(num_shards=num_shards)
    endless = EndlessStream(stream.shuffle(seed=1, buffer_size=4))
    batches = iter(torch.utils.data.DataLoader(endless, 6, num_workers=num_workers, collate_fn=list))
    drawn = [[row["number"] for row in next(batches)] for _ in range(8)]
    passes = [first + second for first, second in zip(drawn[::2], drawn[1::2], strict=True)]
    assert [sorted(numbers) for numbers in passes] == [list(range(12))] * 4
    assert len({tuple(numbers) for numbers in passes}) > 1
    assert passes[0] != sorted(passes[0])


def test_an_empty_stream_is_refused_instead_of_waited_for() -> None:
    empty = datasets.IterableDataset.from_generator(numbers, gen_kwargs={"count": 0})
    with pytest.raises(ValueError, match="no examples"):
        next(iter(EndlessStream(empty)))


def test_images_stay_as_they_are_stored_in_columns_and_in_lists_of_them() -> None:
    features = datasets.Features(
        {"one": datasets.Image(), "many": datasets.List(datasets.Image()), "n": datasets.Value("int64")}
    )
    stored = {"bytes": png(1), "path": "x.png"}
    data = datasets.Dataset.from_list([{"one": stored, "many": [stored, stored], "n": 1}], features=features)
    for each in (data, data.to_iterable_dataset()):
        (row,) = undecoded(each)
        assert row == {"one": stored, "many": [stored, stored], "n": 1}
    assert np.array_equal(np.asarray(decoded(stored)), np.asarray(random_image(1, (48, 40)).convert("RGB")))
    picture = Image.new("RGB", (2, 2))
    assert decoded(picture) is picture
    unknown = datasets.IterableDataset.from_generator(numbers, gen_kwargs={"count": 1})
    assert list(undecoded(unknown)) == [{"number": 0}]


def test_a_stored_image_that_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in ("hf://datasets/user/pets/cat.png", str(tmp_path / "pipe.png")):
        with pytest.raises(UnreadableImageError, match=path):
            decoded({"bytes": None, "path": path})


@pytest.fixture(scope="module")
def writing(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, `model`, and seven training rows, `rows`: texts of different lengths, one without an image."""
    folder = tmp_path_factory.mktemp("writing")
    make("mantis", "llama").save_pretrained(folder / "model", save_backbone=True)
    features = datasets.Features(
        {
            "image": datasets.List(datasets.Image()),
            "title": datasets.Value("string"),
            "description": datasets.Value("string"),
        }
    )
    stored = [
        {
            "image": [{"bytes": png(10 * index + k), "path": None} for k in range(index % 3)],
            "title": "a red mug"[:index],
            "description": "red " * (index + 1),
        }
        for index in range(7)
    ]
    datasets.Dataset.from_list(stored, features=features).save_to_disk(str(folder / "rows"))
    train_from_stream.train(str(folder / "model"), str(folder / "rows"), str(folder / "one"), "4")
    return folder


def check_same(writing: Path, other: Path) -> None:
    before, one, two = (
        load_file(folder / "model.safetensors") for folder in (writing / "model", writing / "one", other)
    )
    for name, tensor in one.items():
        torch.testing.assert_close(two[name], tensor, rtol=1e-4, atol=1e-5)
    assert max((one[name] - before[name]).abs().max() for name in one) > 1e-3


@pytest.mark.slow
def test_a_resumed_run_continues_in_the_middle_of_a_later_pass(writing: Path, tmp_path: Path) -> None:
    """Three batches of 4 end in the second pass of 7."""
    where = (str(writing / "model"), str(writing / "rows"), str(tmp_path / "run"), "4")
    train_from_stream.train(*where)
    (tmp_path / "run" / "model.safetensors").unlink()
    trainer = train_from_stream.train(*where, str(tmp_path / "run" / "checkpoint-3"))
    assert trainer.state.global_step == 4
    assert len(losses(trainer)) == 4
    one, two = (load_file(folder / "model.safetensors") for folder in (writing / "one", tmp_path / "run"))
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())
    again = train_from_stream.train(*where, str(tmp_path / "run" / "checkpoint-4"))  # which has ended
    assert again.state.global_step == 4
    two = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(two[name], tensor) for name, tensor in one.items())


@pytest.mark.slow
def test_two_processes_train_what_one_does(writing: Path, tmp_path: Path) -> None:
    script = [train_from_stream.__file__, str(writing / "model"), str(writing / "rows"), str(tmp_path / "two"), "2"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))}
    done = run_program([*IN_TWO_PROCESSES, *script], env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    check_same(writing, tmp_path / "two")
