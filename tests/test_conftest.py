"""The test setup: warnings are visible, and the random-weight checkpoints are what they claim to be."""

import json
import logging
import warnings
from pathlib import Path

import pytest
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging


@pytest.mark.parametrize("repetition", range(2))
def test_what_transformers_logs_is_seen(repetition: int, transformers_records: list[str]) -> None:
    logger = transformers_logging.get_logger("transformers.models.clip")
    logger.warning("one")
    logger.warning_once("once")  # in the second repetition too
    logger.info("not this")
    logging.getLogger("elsewhere").warning("nor this")
    assert transformers_records == ["transformers.models.clip: one", "transformers.models.clip: once"]
    transformers_records.clear()


def test_python_warnings_are_errors() -> None:
    with pytest.raises(UserWarning, match="careful"):
        warnings.warn("careful", stacklevel=1)


def test_the_openai_stand_in_gives_another_end_token_than_its_tokenizer_writes(openai_clip: Path) -> None:
    text_config = json.loads((openai_clip / "config.json").read_text())["text_config"]
    assert [text_config[f"{name}_token_id"] for name in ("bos", "eos", "pad")] == [0, 2, 1]
    tokenizer = AutoTokenizer.from_pretrained(openai_clip)
    ids = tokenizer("a photo of a cat.").input_ids
    assert ids[-1] == max(ids) == text_config["vocab_size"] - 1 == tokenizer.eos_token_id
    files = {file.name for file in openai_clip.iterdir()}
    tokenizer_files = {
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.json",
        "merges.txt",
        "special_tokens_map.json",
    }
    assert files == {"config.json", "model.safetensors", "preprocessor_config.json"} | tokenizer_files


def test_the_modern_stand_in_gives_its_tokenizers_end_token(modern_clip: Path) -> None:
    text_config = json.loads((modern_clip / "config.json").read_text())["text_config"]
    assert text_config["eos_token_id"] == AutoTokenizer.from_pretrained(modern_clip).eos_token_id
