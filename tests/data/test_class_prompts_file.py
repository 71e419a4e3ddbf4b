"""Sentences about classes are read from JSON in CuPL's form, and other content is refused."""

import json
from pathlib import Path

import pytest

from hf_prompt_models import read_class_prompts


def written(path: Path, content: str) -> Path:
    (path / "sentences.json").write_bytes(content.encode())
    return path / "sentences.json"


def test_names_and_sentences_are_read_as_they_are(tmp_path: Path) -> None:
    sentences = {"cat": ["A cat.", " A cat.\n"], "crème_brûlée": ["It is sweet."], "dog": ["A dog."] * 90}
    assert read_class_prompts(written(tmp_path, json.dumps(sentences))) == sentences
    assert read_class_prompts(written(tmp_path, "\ufeff" + json.dumps(sentences, ensure_ascii=False))) == sentences


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('["A cat."]', "must be a JSON object"),
        ("{}", "must be a JSON object"),
        ('{"cat": ["A cat."]', "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ('{"cat": "A cat."}', "'cat': expected a list of sentences, got 'A cat.'"),
        ('{"cat": {"a": 1}}', "'cat': expected a list of sentences, got"),
        ('{"cat": []}', "'cat': expected a list of sentences, got"),
        ('{"cat": ["A cat.", " "]}', "'cat': sentence 2 is empty or not a text"),
        ('{"cat": ["A cat.", 3]}', "'cat': sentence 2 is empty or not a text"),
        ('{"cat": ["half a pair: \\ud800"]}', "'cat': sentence 1 is empty or not a text"),
        ('{"_": ["A cat."]}', "empty or invalid class name"),
        ('{"\\ud800": ["A cat."]}', "empty or invalid class name"),
        ('{"cat": ["A cat."], "cat": ["It purrs."]}', "the class 'cat' twice"),
        ('{"big_cat": ["A cat."], " big cat": ["It purrs."]}', "the class ' big cat' twice"),
    ],
)
def test_other_content_is_refused(content: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message) as error:
        read_class_prompts(written(tmp_path, content))
    assert "sentences.json" in str(error.value)


def test_a_file_too_large_for_sentences_is_refused_unread(tmp_path: Path) -> None:
    with (tmp_path / "sentences.json").open("wb") as file:
        file.truncate(2**30)
    with pytest.raises(ValueError, match="bytes"):
        read_class_prompts(tmp_path / "sentences.json")
