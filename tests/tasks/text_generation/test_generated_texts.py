"""Texts generated after prompts, in one process or several, and their scores."""

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from hf_prompt_models.metrics.evaluate_metrics import TextGeneration
from hf_prompt_models.prefix_lm.examples import GenerationExample, Scoring
from hf_prompt_models.tasks.text_generation.baselines import blind_baseline, most_frequent_answer
from hf_prompt_models.tasks.text_generation.data import one_for_each_prompt
from hf_prompt_models.tasks.text_generation.generated_texts import GeneratedTexts, generate_texts, rows_as_markdown
from tests.prefix_lm.backbones import made, make
from tests.programs import IN_TWO_PROCESSES, run_program
from tests.tasks.text_generation.examples import EXAMPLES
from tests.training import write_sharded


ROOT = Path(__file__).parents[3]


def one_by_one(model: object, count: int) -> list[str]:
    """The slow reference: a prompt at a time, cut at the end token."""
    texts = []
    for example in EXAMPLES:
        images = [image.load() for image in example.images]
        prompt = model.processor(images=[images], text=[example.prompt], return_tensors="pt")
        (ids,) = model.generate(**prompt, max_new_tokens=count)[:, prompt["input_ids"].shape[1] :].tolist()
        texts.append(model.processor.tokenizer.decode(ids, skip_special_tokens=True).strip())
    return texts


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_texts_are_those_generated_one_by_one(batch_size: int) -> None:
    model = made("frozen", "llama")
    written = generate_texts(model, model.processor, EXAMPLES, {"max_new_tokens": 5}, batch_size, progress=False)
    assert written.texts == one_by_one(model, 5)
    assert len(set(written.texts)) > 2


def test_a_text_ends_where_the_end_token_stands() -> None:
    model = make("frozen", "llama")
    end = model.processor.tokenizer.eos_token_id
    force = {"max_new_tokens": 3, "forced_eos_token_id": end}
    written = generate_texts(model, model.processor, EXAMPLES, force, progress=False)
    assert written.ended == [True] * 5
    assert written.texts == one_by_one(model, 2)
    never = {"max_new_tokens": 3, "min_new_tokens": 3}
    assert generate_texts(model, model.processor, EXAMPLES, never, progress=False).ended == [False] * 5


@pytest.mark.slow
def test_processes_that_share_the_weights_generate_the_same(tmp_path: Path) -> None:
    model = make("mantis", "llama")
    model.save_pretrained(tmp_path / "model", save_backbone=True)
    done = run_program(
        [
            *IN_TWO_PROCESSES,
            write_sharded.__file__,
            str(tmp_path / "model"),
            str(tmp_path / "texts.json"),
        ],
        env=os.environ | {"PYTHONPATH": os.pathsep.join((str(ROOT / "src"), str(ROOT)))},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads((tmp_path / "texts.json").read_text()) == [one_by_one(model.eval(), 5)] * 2


def test_scores_are_those_that_the_examples_ask_for() -> None:
    texts = ["red", "a red", "red", "blue", "red"]
    written = GeneratedTexts(EXAMPLES, texts, [True] * 5)
    expected = TextGeneration().compute(predictions=texts, references=[["red"]] * 5)
    assert written.metrics() == pytest.approx(expected)
    answers = [replace(example, scoring=Scoring.ANSWER) for example in EXAMPLES]
    ended = [True, True, False, True, True]  # a right word without the end is no answer
    assert GeneratedTexts(answers, texts, ended).metrics() == {"exact_match": 2 / 5}
    people = [replace(example, scoring=Scoring.VQA, references=("red",) * 10) for example in EXAMPLES]
    # VQA passes articles over, so that "a red" is right too.
    assert GeneratedTexts(people, texts, ended).metrics() == {"vqa_accuracy": pytest.approx(4 / 5)}


def test_rows_can_be_read_by_people() -> None:
    text = rows_as_markdown(GeneratedTexts(EXAMPLES[2:3], ["a\nred  mug"], [True]).rows(), "Written")
    assert text == (
        "# Written\n\n- image: `picture 20`\n- image: `picture 21`\n- reference: red\n- **generated: a red mug**\n"
    )


def test_captions_of_an_image_are_references_for_one_text() -> None:
    first, second = EXAMPLES[0], EXAMPLES[2]
    again = replace(first, target="a mug", references=("a mug",))
    grouped = one_for_each_prompt([first, second, again])
    assert [each.id for each in grouped] == [first.id, second.id]
    assert grouped[0].references == ("red", "a mug")


def test_the_blind_baseline_is_counted_on_the_same_examples_for_every_seed() -> None:
    asked: list[list[str]] = []

    class Processor:
        blind = False

    def write(examples: Sequence[GenerationExample]) -> GeneratedTexts:
        assert Processor.blind
        asked.append([example.id for example in examples])
        return GeneratedTexts(examples, ["blue"] * len(examples), [True] * len(examples))

    seeing = GeneratedTexts(EXAMPLES, ["red"] * len(EXAMPLES), [True] * len(EXAMPLES))
    for _ in range(2):
        blind, results = blind_baseline(write, Processor, seeing, 3)
    assert asked[0] == asked[1]
    assert len(blind.texts) == results["examples"] == 3
    assert (results["test"]["bleu_1"], results["seeing"]["bleu_1"]) == (0, 1)
    assert not Processor.blind


def test_one_answer_to_all_questions_is_the_most_frequent_one() -> None:
    answers = ["no", "yes", "yes", "two"]
    asked = [GenerationExample(str(n), (), "?", answer, (answer,), Scoring.ANSWER) for n, answer in enumerate(answers)]
    assert most_frequent_answer(asked) == {"answer": "yes", "test": {"exact_match": 0.5}}
    assert most_frequent_answer(EXAMPLES) is None
