"""Summaries that runs over videos with texts print."""

from hf_prompt_models.tasks.video_text.summary import chance_lines, metric_lines, shown_places


def recalls(*values: float) -> dict[str, float]:
    return {f"recall_at_{k}": value for k, value in zip((1, 5, 10), values, strict=True)}


def test_recall_among_no_more_candidates_than_places_is_not_shown() -> None:
    chances = {"text_to_video": recalls(1 / 7, 5 / 7, 1) | {"mean_rank": 4.0}}
    assert shown_places(chances) == [1, 5]
    assert chance_lines({"chance": chances}) == [
        "  chance  text to video   R@1/5  14.29%  71.43%   mean rank 4.0",
    ]
    found = recalls(3 / 7, 6 / 7, 1) | {"median_rank": 2.0, "mean_rank": 2.4}
    metrics = dict.fromkeys(("text_to_video", "video_to_text", "contrast"), found)
    lines = metric_lines("after", metrics, {}, [1, 5])
    assert lines[0] == "  after   text to video   R@1/5  42.86%  85.71%   median rank 2, mean 2.4"


def test_recall_at_one_is_always_shown() -> None:
    assert shown_places({"text_to_video": recalls(1, 1, 1)}) == [1]
    assert shown_places({"text_to_video": recalls(1 / 9, 5 / 9, 1), "video_to_text": recalls(1 / 20, 0.25, 0.5)}) == [
        1,
        5,
        10,
    ]
