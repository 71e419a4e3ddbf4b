"""Nouns of captions."""

from collections import Counter
from pathlib import Path

import pytest

from hf_prompt_models.data.text.entity_vocabulary import (
    check_captions,
    count_listed,
    count_nouns,
    most_frequent,
    read_captions,
)


def test_nouns_are_counted_and_plurals_with_their_singular() -> None:
    pytest.importorskip("textblob")
    captions = ["A red ball and two dogs.", "The dog has a ball", "dogs sleep in the grass", "Gas comes out"]
    counts = count_nouns(captions)
    assert (counts["dog"], counts["ball"], counts["grass"], counts["gas"]) == (3, 2, 1, 1)
    assert not {"dogs", "red", "the", "two", "ga", "."} & set(counts)


def test_without_the_tagger_the_way_out_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "textblob.en", None)
    with pytest.raises(ImportError, match=r"hf_prompt_models\[nouns\]"):
        count_nouns(["a dog"])


def test_listed_entities_are_whole_words_once_a_caption() -> None:
    captions = ["A dog and a DOG near the hot dog stand", "dogma", "a dog"]
    assert count_listed(captions, ["dog", "hot dog", "cat"]) == Counter({"dog": 2, "hot dog": 1})
    assert most_frequent(Counter({"b": 2, "a": 2, "c": 3}), 2) == [("c", 3), ("a", 2)]


def test_captions_of_stop_words_alone_are_refused_with_their_places() -> None:
    assert check_captions([("here", "a dog")]) == ["a dog"]
    with pytest.raises(
        ValueError, match=r"(?s)2 of 3 captions contain only stop words.*line 2: 'It is the one\.'.*line 3"
    ):
        check_captions([("line 1", "a dog"), ("line 2", "It is the one."), ("line 3", "?!")])


def test_captions_may_be_a_plain_json_list(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('["a dog", "a cat"]')
    assert [caption for _, caption in read_captions(tmp_path / "a.json")] == ["a dog", "a cat"]
    (tmp_path / "a.csv").write_text("caption\na dog\n")
    assert [caption for _, caption in read_captions(tmp_path / "a.csv")] == ["a dog"]
