r"""Train a method on your labelled examples, and compare it with the zero-shot result.

    hf-prompt train coop --backbone openai/clip-vit-base-patch16 --train_dir D/train --test_dir D/test \
        --shots 16 --seeds 1 2 3 --output_dir runs/coop
    hf-prompt train action_clip --backbone openai/clip-vit-base-patch16 --train_dir D/train --test_dir D/test \
        --output_dir runs/action_clip
    hf-prompt train coop run.yaml --shots 4
    hf-prompt train auto --backbone openai/clip-vit-base-patch16 --train_dir D/train --output_dir runs/auto

The first argument names the method. `hf-prompt train coop --help` lists its flags, and `hf-prompt train` without
arguments helps choosing a method. The second argument can be a .yaml or .json file of flags, with one line per flag
(`shots: 16`); flags on the command line take precedence. Ctrl-C saves a checkpoint and prints how to resume from it.
To use several processes, run `torchrun --nproc_per_node 2 -m hf_prompt_cli train …`.
"""

import argparse
import shlex
import sys
import time
from collections.abc import Mapping, Sequence

from hf_prompt_cli.methods import methods, methods_with
from hf_prompt_cli.parsing import check_flags, chosen


AUTO = "auto"
AUTO_USE_CASE = "finds the best image classifier by cross-validation, without test images"

CHOOSING = """\
No labelled examples? `hf-prompt predict BACKBONE photos --class_names names.txt` classifies images and videos by
class names alone, and CPT grounds phrases without training: docs/clip_zero_shot.md, docs/cpt.md.
No test set? --test_fraction 0.2 holds out a fifth of each class.
Are your folders named n01 or roses? Pass the class names with --class_names names.csv.

How many examples? Accuracy in %, mean ± deviation over seeds, measured with small backbones (docs/choosing.md):

  training examples                                none  1           2           4           8           16
  coop, drawn images, 12 classes                   46.8  43.4 ± 4.1  45.3 ± 3.7  46.9 ± 2.7  54.8 ± 2.1  58.3 ± 2.9
  coop, photos of groceries, 81 classes            12.9  16.3 ± 0.4  19.9 ± 0.7  21.0 ± 0.1  21.3 ± 0.2  21.2 ± 0.2
  action_clip, photos of exercises, 7 classes      16.2  21.9 ± 2.5  25.6 ± 1.9  31.5 ± 1.3  30.5 ± 4.2  35.4 ± 0.4
  cpt, drawn scenes, phrases in total              77.9  79.4 ± 1.8              85.4 ± 3.5              90.7 ± 0.6

  With a backbone this small, training on one image per class can be worse than zero-shot (46.8, then 43.4). Every run
  also prints the result without training. Results vary by up to 4 points between seeds: use --seeds 1 2 3 before you
  rely on a difference of that size.
  If only the order of the frames tells the classes apart (128 clips per class), action_clip reaches 69.2 ± 4.1 with
  --trainable head, and 33.1 ± 0.2 with the mean of the frames (docs/action_clip.md).
  With all 2,000 phrases, cpt reaches 99.4.
  alpro trained from scratch on 655 sentences reaches a median rank of 45.5 of 218 (docs/alpro.md).

Which backbone? These results are not from full-size backbones. A prompt cannot add detail that its backbone does not
see: start with openai/clip-vit-base-patch32, and use openai/clip-vit-base-patch16 for the final model, or any CLIP,
MetaCLIP 2, SigLIP, Chinese-CLIP, AltCLIP or ALIGN; `--backbone playground` is the tiny model that ships with the
package. For cpt, use dandelin/vilt-b32-mlm. For mantis and frozen, use any causal language model with any image model.
A prompt works only with the backbone that it was trained for.

Too slow? coop --augmented_views 16 trains without the image encoder: 56.4 ± 0.4 instead of 58.3 ± 2.9 on the drawn
images, and 21.3 ± 0.2 instead of 21.2 ± 0.2 on the photos of groceries (docs/coop.md). A step of 32 images and 100
classes takes 0.51 s instead of 2.40 (docs/performance.md).

Try it first, offline: hf-prompt demo"""
"""Text that `hf-prompt train` prints below the list of methods; docs/choosing.md has the full version."""


def parsers() -> dict[str, argparse.ArgumentParser]:
    """Return the parser of each method by the words that call it."""
    return {f"train {method}": parser_of(method) for method in [AUTO, *methods_with("recipe")]}


def parser_of(method: str) -> argparse.ArgumentParser:
    """Return the parser of a method, or of the search for the best one."""
    if method == AUTO:
        from hf_prompt_models.tasks.image_classification.auto.arguments import auto_parser

        return auto_parser(f"hf-prompt train {AUTO}")
    from hf_prompt_models.models import recipe_of
    from hf_prompt_models.tasks.base import task_named

    recipe = recipe_of(method)
    return task_named(recipe.task).training_parser(recipe, f"hf-prompt train {method}")


def main(argv: Sequence[str]) -> int:
    """Run this command and return its exit code."""
    trained = methods_with("recipe")
    if not argv:
        print(advice(trained))
        return 0
    if argv[0] in methods() and argv[0] not in trained:
        sys.exit(
            f"error: {argv[0]} cannot be trained, because its prompts are hand-written. Run `hf-prompt train` "
            "for the methods that can."
        )
    help_text = f"{__doc__}\n{AUTO}: {AUTO_USE_CASE}\nMethods: {', '.join(trained)}"
    method, typed = chosen("hf-prompt train", "method", argv, [AUTO, *trained], help_text), list(argv[1:])
    if method == AUTO:
        return search_for_best(typed)

    from accelerate import PartialState
    from transformers.utils import logging

    from hf_prompt_cli.ending import ending
    from hf_prompt_cli.flag_files import with_flags_of_file
    from hf_prompt_cli.resuming import how_to_resume
    from hf_prompt_models.tasks.run import train

    logging.disable_progress_bar()  # these are of loading and writing weights; training has its own bar
    began, flags = time.time(), typed
    typed_command = shlex.join(["hf-prompt", "train", method, *typed])
    with ending(
        lambda: how_to_resume(typed_command, flags, began),
        fix=lambda: how_to_resume(typed_command, flags, began, fixed=False),
    ):
        parser = parser_of(method)
        flags = with_flags_of_file(parser, typed)
        check_flags(parser, flags, flags_of_other_tasks(method))
        command = shlex.join(["hf-prompt", "train", method, *flags])
        summary = train(method, flags, parser.prog, command)
    if PartialState().is_main_process:
        print(summary)
    return 0


def search_for_best(typed: Sequence[str]) -> int:
    """Run `hf-prompt train auto` and return its exit code.

    Args:
        typed: The command line after `auto`.
    """
    began = time.monotonic()  # before torch is imported, which is part of the time budget
    from transformers.utils import logging

    from hf_prompt_cli.ending import AGAIN, ending
    from hf_prompt_cli.flag_files import with_flags_of_file
    from hf_prompt_models.tasks.image_classification.auto.arguments import NOT_TAKEN, parse_auto
    from hf_prompt_models.tasks.image_classification.auto.run import train_auto

    logging.disable_progress_bar()
    with ending(lambda: "No model was saved. Computed features are in the feature cache.", AGAIN):
        parser = parser_of(AUTO)
        flags = with_flags_of_file(parser, typed)
        check_flags(parser, flags, NOT_TAKEN)
        command = shlex.join(["hf-prompt", "train", AUTO, *flags])
        print(train_auto(parse_auto(flags, parser.prog), command, began))
    return 0


def flags_of_other_tasks(method: str) -> Mapping[str, str]:
    """Return the data flags of tasks other than a method's, with the reason why they do not apply."""
    from dataclasses import fields

    from hf_prompt_models.models import recipe_of
    from hf_prompt_models.tasks.base import all_tasks

    recipe = recipe_of(method)
    return {
        f"--{each.name}": f"it is for {task.name}, but {method} is trained for {recipe.task}"
        for task in all_tasks().values()
        if task.name != recipe.task
        for each in fields(task.data_arguments)
    }


def advice(trained: Sequence[str]) -> str:
    """Return a list of methods with their use cases, from the recipes, and measured results."""
    from hf_prompt_models.models import recipe_of

    lines = [
        f"Only a folder of images? `hf-prompt train {AUTO}` {AUTO_USE_CASE}.",
        "Run a method with `hf-prompt train METHOD …`. `hf-prompt train METHOD --help` shows its flags and examples.",
        "",
        *(f"  {method:<11}  {recipe_of(method).use_case}" for method in trained),
    ]
    return "\n".join([*lines, "", CHOOSING])
