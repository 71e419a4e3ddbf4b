"""The measurements of the benchmarks."""

import torch

from scripts.benchmarks.measuring import (
    activation_bytes,
    count_flops,
    fastest,
    fastest_in_turn,
    markdown_table,
    matmul_rate,
)


def test_kept_bytes_are_those_of_distinct_storages_that_are_no_parameters() -> None:
    weight = torch.randn(8, 4, requires_grad=True)
    inputs = torch.randn(3, 8)
    # The product with the weight keeps the inputs; the sigmoid its result; the square its input, which is that result.
    kept = activation_bytes(lambda: torch.sigmoid(inputs @ weight).square(), [weight])
    assert kept == 4 * (3 * 8 + 3 * 4)


def test_flops_are_counted_forwards_and_backwards() -> None:
    weight, inputs = torch.randn(8, 4), torch.randn(3, 8, requires_grad=True)
    assert count_flops(lambda: (inputs @ weight).sum().backward()) == 2 * (2 * 3 * 8 * 4)


def test_the_first_of_several_calls_is_not_counted(monkeypatch) -> None:
    times = iter([0.0, 100.0, 100.0, 103.0, 103.0, 105.0])
    monkeypatch.setattr("time.perf_counter", lambda: next(times))
    assert fastest(lambda: "result", 2) == (2.0, "result")


def test_arms_take_turns(monkeypatch) -> None:
    clock, calls = iter([0.0, 3.0, 3.0, 8.0, 8.0, 10.0, 10.0, 14.0]), []
    monkeypatch.setattr("time.perf_counter", lambda: next(clock))
    arms = [lambda: calls.append("one"), lambda: calls.append("other") or len(calls)]
    assert fastest_in_turn(arms, 2) == [(2.0, None), (4.0, 4)]
    assert calls == ["one", "other", "one", "other"]


def test_the_rate_of_multiplication_is_of_this_world() -> None:
    assert 1e7 < matmul_rate(128, 1) < 1e15


def test_a_table_is_padded() -> None:
    assert markdown_table(["a", "long"], [["bcd", "1"]]).splitlines() == [
        "|   a | long |",
        "| --: | ---: |",
        "| bcd |    1 |",
    ]
