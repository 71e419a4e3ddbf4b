"""The tokenizer of SigLIP (`spiece.model`), where sentencepiece is installed (the extra `siglip`)."""

import io
import json
import shutil
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F
from transformers import AutoModelForImageClassification

from hf_prompt_models import ClipZeroShotForImageClassification, CoOpForImageClassification


sentencepiece = pytest.importorskip("sentencepiece")
pytest.importorskip("google.protobuf")

NAMES = ["Cat", "the_dog", "kite (bird of prey)", "wow!", "U.S. mail"]
SENTENCES = [
    "a photo of a cat",
    "the dog sat on the mat",
    "kite bird of prey",
    "abcdefghijklmnopqrstuvwxyz 0123456789",
]


@pytest.fixture(scope="module")
def with_spiece(siglip: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random-weight google/siglip-base-patch16-224, with a tokenizer in the files of the repository."""
    folder = tmp_path_factory.mktemp("hub") / "siglip"
    shutil.copytree(siglip, folder)
    (folder / "tokenizer.json").unlink()
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 3),
        model_writer=model,
        model_type="unigram",
        vocab_size=45,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(model.getvalue())
    config = {
        "do_lower_case": True,
        "eos_token": "</s>",
        "model_input_names": ["input_ids"],
        "model_max_length": 64,
        "pad_token": "</s>",
        "tokenizer_class": "SiglipTokenizer",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


@torch.no_grad()
def test_zero_shot_prompts_equal_the_model_itself(with_spiece: Path) -> None:
    model = ClipZeroShotForImageClassification.from_backbone(with_spiece, NAMES)
    assert type(model.processor.tokenizer).__name__ == "SiglipTokenizer"
    prompts = [f"a photo of a {name.replace('_', ' ')}." for name in NAMES]
    ids = model.processor.tokenizer(prompts, padding="max_length", return_tensors="pt").input_ids
    expected = F.normalize(model.clip.get_text_features(input_ids=ids).pooler_output, dim=-1)
    torch.testing.assert_close(model.get_text_features().pooler_output, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_the_context_stands_around_the_name(position: str, with_spiece: Path, tmp_path: Path) -> None:
    """The tokenizer removes the full stop, so that the name runs up to the end token."""
    model = CoOpForImageClassification.from_backbone(
        with_spiece, NAMES, context_init="a photo", class_token_position=position
    )
    tokenizer = model.processor.tokenizer
    n_ctx, vocabulary = model.config.n_ctx, model.clip.config.text_config.vocab_size
    context = list(range(vocabulary, vocabulary + n_ctx))
    before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]
    assert model.prompt_token_ids() == [
        [
            *context[:before],
            *tokenizer(name.replace("_", " "), add_special_tokens=False).input_ids,
            *context[before:],
            1,
        ]
        for name in NAMES
    ]
    model.save_pretrained(tmp_path)
    loaded = AutoModelForImageClassification.from_pretrained(tmp_path)
    loaded.set_classes(NAMES)
    assert loaded.prompt_token_ids() == model.prompt_token_ids()
