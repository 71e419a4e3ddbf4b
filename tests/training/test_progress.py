"""The estimate of the time that is left, on a clock of the test."""

import pytest
from transformers import TrainerControl, TrainerState, TrainingArguments

from hf_prompt_models.training.callbacks import progress
from hf_prompt_models.training.callbacks.progress import FeaturePace, PaceCallback, in_words


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def printed(
    per_step: float,
    steps: int,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    later_seeds: int = 0,
    quiet: bool = False,
    began: int = 0,
) -> list[str]:
    """Run the callback over the first ten steps, of which the first takes a minute, and return what it prints."""
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    pace = PaceCallback()
    pace.later_seeds, pace.advice = later_seeds, ["--bf16 true computes in bfloat16."]
    arguments = TrainingArguments(disable_tqdm=quiet, use_cpu=True, report_to="none")
    state, control = TrainerState(max_steps=steps, global_step=began), TrainerControl()
    pace.on_train_begin(arguments, state, control)
    for step in range(1, 11):
        clock.now += 60 if step == 1 else per_step
        state.global_step = began + step
        pace.on_step_end(arguments, state, control)
    return capsys.readouterr().err.splitlines()


def test_a_short_run_reports_its_time_alone(capsys, monkeypatch) -> None:
    assert printed(2, 105, capsys, monkeypatch) == ["About 3 min left for the remaining 100 steps of this seed."]
    assert printed(2, 105, capsys, monkeypatch, quiet=True) == []


@pytest.mark.parametrize("quiet", [False, True])
def test_a_run_of_more_than_ten_minutes_reports_how_to_shorten_it(quiet: bool, capsys, monkeypatch) -> None:
    assert printed(7, 105, capsys, monkeypatch, quiet=quiet) == [
        "About 12 min left for the remaining 100 steps of this seed.",
        "To shorten a run like this:",
        "  --bf16 true computes in bfloat16.",
    ]


def test_all_seeds_count(capsys, monkeypatch) -> None:
    # 100 steps of this seed and 2 x 105 steps of the others, 2 s each.
    assert printed(2, 105, capsys, monkeypatch, later_seeds=2)[:2] == [
        "About 3 min left for the remaining 100 steps of this seed.",
        "About 10 min left for all 3 seeds.",
    ]


def test_a_resumed_run_counts_the_steps_that_are_left(capsys, monkeypatch) -> None:
    (line,) = printed(2, 105, capsys, monkeypatch, began=50)
    assert line == "About 2 min left for the remaining 50 steps of this seed."


@pytest.mark.parametrize(
    ("per_batch", "line"), [(63, None), (80, "About 12 min left to compute the features of 900 items.")]
)
def test_features_that_take_more_than_ten_minutes_are_reported(
    per_batch: float, line: str | None, capsys, monkeypatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(progress, "time", clock)
    pace = FeaturePace(1200, ["--bf16 true computes in bfloat16."])
    for number in range(12):
        clock.now += 500 if number == 0 else per_batch
        pace.update(100)
    expected = [] if line is None else [line, "To shorten a run like this:", "  --bf16 true computes in bfloat16."]
    assert capsys.readouterr().err.splitlines() == expected


def test_durations_are_rounded() -> None:
    assert [in_words(each) for each in (0.1, 40.4, 89, 91, 5399, 5401)] == [
        "1 s",
        "40 s",
        "89 s",
        "2 min",
        "90 min",
        "1.5 h",
    ]
