"""Model cards, without a Hub."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from hf_prompt_models.hub.model_card import (
    Checkpoint,
    RunOnCard,
    card_text,
    is_generated,
    make_card,
    one_line,
    read_card,
    write_card,
)
from hf_prompt_models.models import PACKAGES
from hf_prompt_models.tasks.classification.card import run_on_card


CHECKPOINT = Checkpoint(
    method="coop",
    class_name="CoOpForImageClassification",
    pipeline_tag="image-classification",
    scope="prompt",
    num_learned=8192,
    base_model="openai/clip-vit-base-patch16",
    base_model_revision="c" * 40,
    class_names=["cat", "dog | <script>", "a\nb"],
)


def results(seeds: tuple[int, ...] = (1, 2, 3), **changes: Any) -> dict[str, Any]:
    """What `results.json` of a few-shot run holds; the accuracy of seed n is 0.8 + n / 100."""
    by_seed = {str(seed): {"accuracy": 0.8 + seed / 100, "mean_class_accuracy": 0.7} for seed in seeds}
    accuracy = {"mean": 0.82, "std": 0.0081649658}
    return {
        "method": "CoOp",
        "protocol": "few-shot",
        "kind": "image",
        "backbone": "openai/clip-vit-base-patch16",
        "data": {"name": "Oxford Pets", "train": "timm/oxford-iiit-pet:train", "test": "timm/oxford-iiit-pet:test"},
        "shots": 16,
        "tests": {
            "test": {
                "title": "Oxford Pets",
                "source": "timm/oxford-iiit-pet:test",
                "templates": ["a photo of a {}."],
                "zero_shot": {"accuracy": 0.75, "mean_class_accuracy": 0.6},
                "accuracy": accuracy,
                "mean_class_accuracy": {"mean": 0.7, "std": 0.0},
            }
        },
        "seeds": {seed: {"model": "/home/me/x", "steps": 200, "tests": {"test": by_seed[seed]}} for seed in by_seed},
        "arguments": {"n_ctx": 16, "context_init": None, "text": "/home/me/secret"},
        "versions": {"torch": "2.13", "transformers": "5.23"},
        "command": "python scripts/train.py coop --train_dir /home/me/pets",
    } | changes


def metadata(card: ModelCard) -> dict[str, Any]:
    """As the Hub reads it, not as it was given."""
    return yaml.safe_load(card.content.split("---\n")[1])


@pytest.mark.parametrize("name", PACKAGES)
def test_a_methods_text_has_code_limits_and_citation(name: str) -> None:
    text = card_text(name)
    assert not text.startswith("#")  # a lead comes first
    for title in ("## Use", "## Limits", "## Citation"):
        assert f"\n{title}\n" in text
    assert "```python\nimport hf_prompt_models" in text
    assert '"user/repository"' in text
    assert "https://arxiv.org/abs/" in text
    assert max(map(len, text.splitlines())) <= 120


def test_a_method_without_a_text_is_informed_where_to_write_one() -> None:
    with pytest.raises(FileNotFoundError, match=r"model_cards/nothing\.md"):
        card_text("nothing")


def test_a_run_is_in_the_model_index_with_each_seed_and_their_mean() -> None:
    run = run_on_card(results(), "image-classification", "2")
    data = metadata(make_card(CHECKPOINT, "me/pets", run))
    (index,) = data["model-index"]
    assert index["name"] == "pets"
    (result,) = index["results"]
    assert result["task"]["type"] == "image-classification"
    assert result["dataset"] == {"type": "timm/oxford-iiit-pet", "name": "Oxford Pets", "split": "test"}
    accuracies = [metric for metric in result["metrics"] if metric["type"] == "accuracy"]
    assert [(metric["name"], metric["value"]) for metric in accuracies] == [
        ("Accuracy, seed 2", 0.82),
        ("Accuracy, seed 1", 0.81),
        ("Accuracy, seed 3", 0.83),
        ("Accuracy, mean of 3 seeds", 0.82),
    ]
    assert accuracies[0]["args"] == {"seed": 2}
    assert accuracies[3]["args"] == {"standard_deviation": 0.0082}
    assert data["datasets"] == ["timm/oxford-iiit-pet"]
    assert data["metrics"] == ["accuracy", "mean_class_accuracy"]


def test_metadata_say_how_the_hub_should_list_a_checkpoint() -> None:
    data = metadata(make_card(CHECKPOINT, "me/pets", tags=["pets"]))
    assert data == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "image-classification",
        "base_model": "openai/clip-vit-base-patch16",
        "base_model_relation": "adapter",
        "tags": ["hf_prompt_models", "coop", "prompt-learning", "pets"],
    }
    full = Checkpoint("coop", "CoOpForImageClassification", "image-classification", "full", 1)
    data = metadata(make_card(full, "me/pets", run_on_card(results(), "image-classification", "1")))
    assert (data["base_model"], data["base_model_relation"]) == ("openai/clip-vit-base-patch16", "finetune")
    assert data["license"] == "other"
    assert "base_model" not in metadata(make_card(full, "me/pets"))  # it is nowhere to be found


def test_the_text_tells_protocol_and_results_and_no_path() -> None:
    card = make_card(CHECKPOINT, "me/pets", run_on_card(results(), "image-classification", "1"))
    assert "| zero-shot | 75.00% |" in card.text
    assert "| seed 1 (this checkpoint) | 81.00% |" in card.text
    assert "| mean ± standard deviation | 82.00% ± 0.82% |" in card.text
    assert "16 images per class, sampled with the seed" in card.text
    assert "n_ctx=16" in card.text
    assert "/home/me" not in card.content
    assert 'pipeline("image-classification", "me/pets")' in card.text
    assert "c" * 40 in card.text
    assert "dog \\| &lt;script>" in card.text  # names cannot break out of their line
    assert "a b" in card.text


def test_several_test_sets_are_distinguished() -> None:
    test, scores = results()["tests"]["test"], {"accuracy": 0.5, "mean_class_accuracy": 0.5}
    of = results(protocol="base-to-new", harmonic_mean={"zero_shot": 0.6, "learned": 0.5})
    of["tests"] = {"base": test, "new": test}
    of["seeds"] = {"1": {"model": "m", "steps": 9, "tests": {"base": scores, "new": scores}}}
    run = run_on_card(of, "image-classification", "1")
    assert "| Accuracy | base, Oxford Pets | new, Oxford Pets |" in run.text
    assert "Harmonic mean of both accuracies: zero-shot 60.00%, trained 50.00%." in run.text
    data = metadata(make_card(CHECKPOINT, "me/pets", run))
    names = [result["dataset"]["name"] for result in data["model-index"][0]["results"]]
    assert names == ["Oxford Pets (base)", "Oxford Pets (new)"]


def test_what_a_card_reports_of_a_run_can_be_read_from_it() -> None:
    run = run_on_card(results(), "image-classification", "2")
    card = ModelCard(make_card(CHECKPOINT, "user/repository", run).content)
    found = RunOnCard.from_card(card)
    assert found is not None
    assert found.text == run.text
    again = make_card(CHECKPOINT, "user/repository", found)
    assert again.content == card.content
    assert RunOnCard.from_card(make_card(CHECKPOINT)) is None
    assert make_card(CHECKPOINT, "me/pets", found).content == make_card(CHECKPOINT, "me/pets", run).content


def test_a_card_whose_first_line_was_taken_out_is_somebodys_own(tmp_path: Path) -> None:
    card = make_card(CHECKPOINT)
    write_card(card, tmp_path / "README.md")
    assert [file.name for file in tmp_path.iterdir()] == ["README.md"]
    read = read_card(tmp_path / "README.md")
    assert read is not None
    assert is_generated(read)
    lines = [line for line in card.content.splitlines() if not line.startswith("<!-- Generated by")]
    assert len(lines) == len(card.content.splitlines()) - 1
    assert not is_generated(ModelCard("\n".join(lines)))
    assert read_card(tmp_path / "missing.md") is None


def test_text_from_outside_stays_in_its_line() -> None:
    assert one_line("a\n\n# b | <b>") == "a # b \\| &lt;b>"
    assert len(one_line("x" * 1000)) == 80


def test_results_are_json_all_the_way(tmp_path: Path) -> None:
    """The card is made of what `results.json` holds, also where it is read again."""
    again = json.loads(json.dumps(results()))
    assert run_on_card(again, "image-classification", "1") == run_on_card(results(), "image-classification", "1")


def test_a_backbone_that_is_not_on_the_hub_is_named_and_answers_are_no_classes() -> None:
    local = Checkpoint("coop", "CoOpForImageClassification", "image-classification", "prompt", 1, local_base="my-clip")
    text = make_card(local, "me/pets").text
    assert "- **Backbone**: my-clip, which is not on the Hub" in text
    assert "the backbone is loaded from the location that the configuration names" in text
    asks = Checkpoint("alpro", "A", "video-question-answering", "full", 1, class_names=["yes", "no"])
    text = make_card(asks, "me/pets").text
    assert "- **Answers**: 2: yes, no" in text
    assert "**Classes**" not in text
