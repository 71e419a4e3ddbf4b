"""Run a comparison: choose methods, compute what they share, run their cells, and write the report."""

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from hf_prompt_models.backbones.packaged import portable_name
from hf_prompt_models.tasks.arguments import parse_time
from hf_prompt_models.tasks.image_classification.comparison.arguments import SHOTS, CompareArguments
from hf_prompt_models.tasks.image_classification.comparison.cells import (
    Cell,
    CellRunner,
    Prepared,
    quiet,
    run_cells,
)
from hf_prompt_models.tasks.image_classification.comparison.cost import (
    compute_test_features,
    estimate,
    stored_views,
    total_seconds,
    within_budget,
)
from hf_prompt_models.tasks.image_classification.comparison.methods import Method, all_methods, methods_named
from hf_prompt_models.tasks.image_classification.comparison.plan import Plan, check_folder, flag_of, request_of
from hf_prompt_models.tasks.image_classification.comparison.report import write_report
from hf_prompt_models.training.callbacks.progress import in_words
from hf_prompt_models.training.run_folder import digest_of
from hf_prompt_models.training.run_lock import only_run
from hf_prompt_models.training.run_start import check_backbones


FEATURES = "features"
"""Folder for features with `--feature_cache off`, which is removed at the end."""


def compare(arguments: CompareArguments, command: str) -> str:
    """Compare methods, and return the text to print.

    Args:
        arguments: Arguments of the comparison.
        command: The command line, for the report.

    Raises:
        OSError: If the backbone cannot be found, or the folder cannot be written to.
        ValueError: For data, methods or settings that cannot be used, or a folder with another comparison.
    """
    requested = None if arguments.methods is None else methods_named(arguments.methods)
    check_backbones([arguments.backbone])
    directory = Path(arguments.output_dir)
    if arguments.feature_cache == "off":
        arguments = replace(arguments, feature_cache=str(directory / FEATURES))
    runner = CellRunner(arguments)
    candidates = (
        list(all_methods().values()) if requested is None else requested or [next(iter(all_methods().values()))]
    )
    with only_run(directory, True):
        shots, too_many = usable_shots(runner, candidates)
        first = first_that_applies(runner, candidates, max(shots), requested is not None)
        settings = settings_of(arguments, first)
        plan = check_folder(directory, settings)
        if plan is None or plan.request != request_of(arguments):
            plan = make_plan(runner, requested, candidates, shots, settings)
            plan.left_out_shots = too_many
            plan.write(directory)
        first.run.write_baselines(directory)
        cells = plan.cells(arguments.seeds)
        left = [cell for cell in cells if cell.seconds(directory) is None]
        workers = arguments.workers(len(left), sum(plan.seconds_of(cell) for cell in left))
        announce(plan, arguments, cells, left, workers)
        compute_features(runner, plan, left, workers)
        run_all(runner, plan, left, workers)
        if (directory / FEATURES).is_dir():
            shutil.rmtree(directory / FEATURES)
        return write_report(plan, arguments, cells, first.run.results(), command)


def usable_shots(runner: CellRunner, candidates: Sequence[Method]) -> tuple[list[int], dict[int, str]]:
    """Return the numbers of shots to compare, and those of the default that a class has too few images for."""
    arguments = runner.arguments
    if arguments.shots is not None:
        return sorted(arguments.shots), {}
    with quiet():
        first = first_that_applies(runner, candidates, 1, False)
    labels = list(first.run.data.train.labels)
    least = min(labels.count(label) for label in range(len(first.run.data.train.class_names)))
    reason = f"a class has {least} training images"
    return [k for k in SHOTS if k <= least], {k: reason for k in SHOTS if k > least}


def first_that_applies(runner: CellRunner, candidates: Sequence[Method], shots: int, all_must: bool) -> Prepared:
    """Return the prepared run of a method, which reads and checks the data, samples the shots and tests zero-shot.

    Args:
        runner: Runner of this process.
        candidates: The methods.
        shots: Training images per class.
        all_must: Whether every method has to apply to the data.

    Raises:
        TypeError: If no method applies to the backbone, or one that has to.
        ValueError: If no method applies to the data, or one that has to.
    """
    errors: list[Exception] = []
    prepared: list[Prepared] = []
    for method in candidates:
        if prepared and not all_must:
            break
        try:
            prepared.append(runner.prepare(method, shots, runner.arguments.seeds, runner.arguments.output_dir))
        except (TypeError, ValueError) as error:
            errors.append(error)
            if all_must:
                raise type(error)(f"{method.name}: {error}") from error
    if not prepared:
        raise errors[0]
    return prepared[0]


def settings_of(arguments: CompareArguments, prepared: Prepared) -> dict[str, Any]:
    """Return the values on which the results of every cell depend."""
    settings = arguments.of_training()
    for name in ("feature_cache", "save_tokenizer", "allow_shared_files"):
        settings.pop(name, None)
    data = prepared.run.data
    return settings | {
        "backbone": portable_name(arguments.backbone),
        "backbone_digest": digest_of(prepared.run.zero_shot.config.base_model_fingerprint),
        "train_digest": digest_of([list(data.train.names), list(data.train.labels)]),
        "test_digest": digest_of(
            [[list(each.images.names), list(each.images.labels)] for each in data.tests.values()]
        ),
    }


def make_plan(
    runner: CellRunner,
    requested: Sequence[Method] | None,
    candidates: Sequence[Method],
    shots: Sequence[int],
    settings: dict[str, Any],
) -> Plan:
    """Return the plan with the methods that were requested, or with all that fit the time budget.

    Args:
        runner: Runner of this process.
        requested: Methods that were requested, if any.
        candidates: All methods.
        shots: Numbers of training images per class.
        settings: Values on which the results depend.
    """
    arguments = runner.arguments
    seeds, budget = arguments.seeds, parse_time(arguments.time_budget)
    costs, refused = estimate(runner, candidates if requested is None else requested, shots, seeds)
    workers = arguments.workers(len(candidates) * len(shots) * len(seeds))
    left_out: dict[str, str] = {}
    if requested is not None:
        if refused:
            raise next(iter(refused.values()))
        methods = [method.name for method in requested]
    else:
        methods = within_budget(costs, len(seeds), workers, budget)
        for name, cost in costs.items():
            if name not in methods:
                alone = total_seconds([cost], len(seeds), workers)
                left_out[name] = f"about {in_words(alone)} alone, more than is left of --time_budget"
        left_out |= {name: " ".join(str(error).split()).rstrip(".") for name, error in refused.items()}
        if not methods:
            raise ValueError(
                f"No method fits --time_budget {arguments.time_budget}. Pass more time, fewer --shots, or --methods."
            )
    return Plan(settings, request_of(arguments), methods, list(shots), left_out, {}, costs)


def announce(
    plan: Plan, arguments: CompareArguments, cells: Sequence[Cell], left: Sequence[Cell], workers: int
) -> None:
    """Print what is compared, what was left out, and how long it will take."""
    lines = [f"Comparing {', '.join(['zero_shot', *plan.methods])}."]
    if arguments.methods is not None and arguments.time_budget != CompareArguments.time_budget:
        lines.append("--time_budget has no effect on methods that --methods names.")
    lines += [f"Left out {name}: {reason}. {flag_of(name, plan)}" for name, reason in plan.left_out.items()]
    lines += [f"Left out {shots} shots: {reason}." for shots, reason in plan.left_out_shots.items()]
    if not left:
        lines.append(f"All {len(cells)} cells are complete.")
    else:
        seconds = total_seconds([plan.costs[name] for name in plan.methods], len(arguments.seeds), workers)
        done = len(cells) - len(left)
        lines.append(
            f"{len(left)} cells of {len(plan.methods)} methods, {len(plan.shots)} numbers of shots and "
            f"{len(arguments.seeds)} seeds, about {in_words(seconds * len(left) / len(cells))}, {workers} at a time."
            + (f" {done} are complete from an earlier run." if done else "")
        )
    print("\n".join(lines), file=sys.stderr)


def compute_features(runner: CellRunner, plan: Plan, left: Sequence[Cell], workers: int) -> None:
    """Compute the features that cells train on, once for all of them. Those of fewer shots are among them.

    Args:
        runner: Runner of this process.
        plan: The plan.
        left: Cells that are not complete.
        workers: Number of processes.
    """
    names = {cell.method for cell in left}
    groups = {plan.costs[name].views: name for name in plan.methods if name in names}
    for views, name in groups.items():
        if not views:
            continue
        (method,) = methods_named([name])
        seeds = sorted({cell.seed for cell in left})
        with quiet():
            prepared = runner.prepare(
                method, max(plan.shots), seeds, runner.arguments.output_dir, workers if workers > 1 else 0
            )
            model = prepared.run.new_model(prepared.run.data.train.class_names).to(prepared.run.settings.device)
            compute_test_features(prepared, model)
        for seed in seeds:
            prepared.run.stored_features(model, stored_views(prepared, seed))


def run_all(runner: CellRunner, plan: Plan, left: Sequence[Cell], workers: int) -> None:
    """Run cells, the longest first, with a bar of the estimated time.

    Args:
        runner: Runner of this process.
        plan: The plan.
        left: Cells that are not complete.
        workers: Number of processes.
    """
    seconds = {cell: plan.seconds_of(cell) for cell in left}
    order = sorted(left, key=lambda cell: -seconds[cell])
    total = sum(seconds.values())
    form = "{l_bar}{bar}| {postfix[0]}/{postfix[1]} cells [{elapsed}<{remaining}]"
    with tqdm(
        total=total,
        desc="Cells",
        bar_format=form,
        postfix=[0, len(left)],
        disable=runner.arguments.disable_tqdm,
        file=sys.stderr,
    ) as bar:
        for cell in run_cells(runner, order, workers):
            if not bar.disable:
                bar.postfix[0] += 1
            bar.update(seconds[cell])
