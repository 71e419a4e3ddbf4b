import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoProcessor, AutoTokenizer, CLIPModel

from hf_prompt_models.playground import CLASS_NAMES, CLIP_DIR, draw_example
from hf_prompt_models.playground.shapes import SHAPES
from scripts.playground.pictures import draw_image
from scripts.playground.vocabulary import learn_merges
from tests.programs import run_program


SCRIPT = Path(__file__).parents[2] / "scripts" / "train_playground.py"


@pytest.fixture(scope="module")
def model() -> CLIPModel:
    return CLIPModel.from_pretrained(CLIP_DIR).eval()


@pytest.fixture(scope="module")
def processor():
    return AutoProcessor.from_pretrained(CLIP_DIR)


def _accuracy(model: CLIPModel, processor, images: list, labels: list[int], names: list[str]) -> float:
    inputs = processor(
        text=[f"a photo of a {name}." for name in names], images=images, padding=True, return_tensors="pt"
    )
    with torch.no_grad():
        return (model(**inputs).logits_per_image.argmax(dim=1) == torch.tensor(labels)).float().mean().item()


def test_shipped_folder_is_small_and_complete() -> None:
    sizes = {path.name: path.stat().st_size for path in Path(CLIP_DIR).iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"} <= sizes.keys()
    assert sum(sizes.values()) < 4_000_000


def test_special_tokens_agree_between_tokenizer_and_model(model: CLIPModel, processor) -> None:
    config, tokenizer = model.config.text_config, processor.tokenizer
    assert (config.bos_token_id, config.eos_token_id) == (tokenizer.bos_token_id, tokenizer.eos_token_id)
    assert tokenizer.eos_token_id == len(tokenizer) - 1 == config.vocab_size - 1
    assert config.max_position_embeddings == 77


@pytest.mark.parametrize(
    "text", ["a photo of a fish.", "crème brûlée", "日本語 и кириллица", "🦆🏳️‍🌈", "\x00\x7f\u2028 ­", "don't"]
)
def test_tokenizer_spells_any_text_without_unknown_tokens(text: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(CLIP_DIR)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    spelled = tokenizer.decode(ids)
    assert spelled.replace(" ", "") == text.replace("\u2028", "").replace(" ", "")


def test_every_class_name_is_one_token() -> None:
    tokenizer = AutoTokenizer.from_pretrained(CLIP_DIR)
    assert all(len(tokenizer.tokenize(name)) == 1 for name in SHAPES)


def test_merges_join_the_most_frequent_neighbours_first() -> None:
    merges = learn_merges(["the cat", "The hat", "the cat"], count=3)
    assert merges == [("a", "t</w>"), ("h", "e</w>"), ("t", "he</w>")]


def test_zero_shot_knows_pre_training_images_of_an_unseen_seed(model: CLIPModel, processor) -> None:
    names = list(SHAPES)
    pictures = [draw_image(12345, index) for index in range(200)]
    labels = [names.index(traits.shape) for _, traits in pictures]
    assert _accuracy(model, processor, [image for image, _ in pictures], labels, names) > 0.5  # chance is 1/32


def test_zero_shot_is_poor_but_above_chance_on_the_shifted_task(model: CLIPModel, processor) -> None:
    labels = [label for label in range(len(CLASS_NAMES)) for _ in range(15)]
    images = [draw_example(CLASS_NAMES[label], "test", 12345, index) for index, label in enumerate(labels)]
    assert 0.15 < _accuracy(model, processor, images, labels, list(CLASS_NAMES)) < 0.6  # chance is 1/12


@pytest.mark.slow
def test_the_script_writes_a_folder_that_loads(tmp_path: Path) -> None:
    flags = ["clip", str(tmp_path / "clip"), "--steps", "1", "--pictures", "130"]
    done = run_program([sys.executable, str(SCRIPT), *flags], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    processor = AutoProcessor.from_pretrained(tmp_path / "clip")
    text = processor(text=["a fish"], return_tensors="pt")
    features = CLIPModel.from_pretrained(tmp_path / "clip").get_text_features(**text).pooler_output
    assert features.isfinite().all()
