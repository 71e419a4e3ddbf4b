"""Task "video-text", which searches videos by sentences and answers questions about videos."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import AutoConfig, HfArgumentParser, TrainingArguments

from hf_prompt_models.configuration_utils import PromptConfig
from hf_prompt_models.hub.model_card import RunOnCard
from hf_prompt_models.recipe_utils import VideoTextRecipe
from hf_prompt_models.tasks.arguments import (
    RunArguments,
    add_on_unreadable_argument,
    add_top_k_argument,
    fields_of,
    natural,
    positive,
    run_arguments,
)
from hf_prompt_models.tasks.base import Entries, Task
from hf_prompt_models.tasks.frame_strip import drawn, strip_files
from hf_prompt_models.tasks.video_text.arguments import VideoTextArguments, check_data, check_method
from hf_prompt_models.tasks.video_text.card import video_texts_on_card
from hf_prompt_models.tasks.video_text.evaluation import Loading
from hf_prompt_models.tasks.video_text.prediction import answer_question, find_videos_by_text
from hf_prompt_models.tasks.video_text.run import VideoTextRun
from hf_prompt_models.tasks.video_text.summary import TITLES, build_sections, summarise, summarise_evaluation
from hf_prompt_models.tasks.video_text.tested import evaluate_video_text


class VideoText(Task[VideoTextRecipe[Any]]):
    """Find videos by sentences, answer questions about videos, and pre-train for both."""

    name = "video-text"
    does = "searches videos or answers questions about them"
    kind = "text"
    names_in_results = frozenset(TITLES)
    data_arguments = VideoTextArguments
    build_sections = staticmethod(build_sections)
    page = "hf_prompt_models.app.video_text_retrieval"
    evaluation_examples = ("runs/alpro --test_file msrvtt_test.jsonl --test_videos videos --rerank 0",)
    prediction_examples = (
        'runs/retrieval clips/ --text "a ball rolls to the left" --index features --drawing found.png',
        'runs/answers clip.mp4 --question "what colour is the ball?" --frame_strip clip.png',
    )

    def shown_defaults(self, recipe: VideoTextRecipe[Any]) -> dict[str, Any]:
        """Return the recipe's defaults that `--help` shows."""
        return recipe.training_defaults()

    def run_arguments(
        self, recipe: VideoTextRecipe[Any], parser: HfArgumentParser, given: dict[str, Any]
    ) -> RunArguments:
        """Return the arguments of a run; calls `parser.error` if they do not go together."""
        data = VideoTextArguments(**fields_of(VideoTextArguments, given))
        check_data(parser, data, given)
        try:
            settings = recipe.training_defaults(given["task"], given.get("dataset"))
            arguments = run_arguments(recipe, given, data, settings, recipe.argument_defaults(given))
        except ValueError as error:
            parser.error(str(error))
        check_method(parser, arguments.method)
        return arguments

    def backbones(self, recipe: VideoTextRecipe[Any], arguments: RunArguments) -> list[str | None]:
        """Return the backbones that a run loads."""
        data = arguments.data
        return [data.backbone, data.vision, data.text]

    def prepare(
        self, recipe: VideoTextRecipe[Any], arguments: RunArguments, training: Mapping[int, TrainingArguments]
    ) -> VideoTextRun:
        """Read and check the data of a run and compute its baselines."""
        return VideoTextRun(recipe, arguments, training)

    def summarise_run(self, results: dict[str, Any], arguments: RunArguments) -> str:
        """Return the text that `hf-prompt train` prints at the end."""
        return summarise(results)

    def run_on_card(self, results: dict[str, Any], card_task: str, seed: str) -> RunOnCard:
        """Return the part of a seed's model card that describes the run."""
        return video_texts_on_card(results, card_task, seed)

    def check_model(self, directory: Path, config: PromptConfig) -> None:
        """Accept every model; `predict` reports which class searches and which answers."""

    def add_evaluation_arguments(self, parser: argparse.ArgumentParser, recipe: VideoTextRecipe[Any] | None) -> None:
        """Add the task's flags of `hf-prompt evaluate`."""
        parser.add_argument("--test_videos", metavar="DIR", help="folder of the videos that --test_file names")
        parser.add_argument(
            "--rerank",
            type=natural,
            default=16,
            help="number of candidates that are scored together with the query (default: 16); 0: all, as in "
            "the released code",
        )

    def evaluate(
        self,
        directories: Mapping[str, Path],
        recipe: VideoTextRecipe[Any] | None,
        arguments: argparse.Namespace,
    ) -> dict[str, Any]:
        """Test saved models and return what `--json` writes."""
        return evaluate_video_text(
            directories,
            arguments.test_dir,
            arguments.test_videos,
            arguments.rerank,
            arguments.on_unreadable,
            Loading(arguments.batch_size or 16, arguments.num_workers),
            arguments.predictions,
        )

    def summarise_evaluation(self, results: dict[str, Any]) -> str:
        """Return the text that `hf-prompt evaluate` prints."""
        return summarise_evaluation(results)

    def add_prediction_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Add the task's flags of `hf-prompt predict`."""
        add_top_k_argument(parser, "answers or videos")
        add_on_unreadable_argument(parser)
        parser.add_argument("--batch_size", type=positive, help="number of videos to encode at a time (default: 8)")
        parser.add_argument("--text", metavar="SENTENCE", help="sentence to search the videos for")
        parser.add_argument("--question", help="question to answer about each video")
        parser.add_argument(
            "--index", metavar="DIR", help="folder in which the videos' features are kept for later searches"
        )
        parser.add_argument(
            "--drawing",
            metavar="FILE",
            help="figure to write with the frames of the videos that were found (default: none)",
        )
        parser.add_argument(
            "--frame_strip",
            metavar="FILE_OR_DIR",
            help="draw the frames that the model saw and its best answers: FILE.png for one video, or a folder "
            "with one figure per video",
        )

    def predict(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        """Run a saved model on files."""
        if (arguments.text is None) == (arguments.question is None):
            raise ValueError(
                f"{arguments.model} needs a text in addition to videos. Pass --text to search the videos, or "
                "--question to ask about them."
            )
        asks = arguments.question is not None
        of_others = {"--frame_strip": arguments.frame_strip}
        if asks:
            of_others = {
                "--index": arguments.index,
                "--drawing": arguments.drawing,
                "--batch_size": arguments.batch_size,
            }
        elif arguments.on_unreadable != "refuse":
            of_others["--on_unreadable"] = arguments.on_unreadable
        if given := [flag for flag, value in of_others.items() if value is not None]:
            raise ValueError(f"{given[0]} does not apply to {('--question' if asks else '--text')}. Remove it.")
        return self._answer(directory, arguments) if asks else self._search(directory, arguments)

    def _search(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        best, index = find_videos_by_text(
            directory,
            arguments.files,
            arguments.text,
            arguments.top_k,
            arguments.index,
            arguments.drawing,
            batch_size=arguments.batch_size or 8,
        )
        if arguments.json:
            return {"text": arguments.text, "videos": best}
        lines = [f"{arguments.text}: best of {len(index.names)} videos"]
        lines += [f"  {each['score']:7.2%}  {each['video']}" for each in best]
        if index.skipped:
            lines.append(
                f"Skipped {len(index.skipped)} videos that cannot be read, such as {next(iter(index.skipped))}."
            )
        if arguments.drawing:
            lines += ["", f"Their frames are in {arguments.drawing}."]
        return "\n".join(lines)

    def _answer(self, directory: str, arguments: argparse.Namespace) -> Entries | str:
        answers = answer_question(
            directory, arguments.files, arguments.question, arguments.top_k, arguments.on_unreadable
        )
        if arguments.frame_strip:
            files = [file for file, _ in answers]
            strips = dict(zip(files, strip_files(arguments.frame_strip, files), strict=True))
            answers = list(drawn(iter(answers), strips, AutoConfig.from_pretrained(directory).num_frames))
        if arguments.json:
            return [{"video": file, "predictions": best} for file, best in answers]
        lines = []
        for file, best in answers:
            lines.append(f"{file}: {arguments.question}")
            lines += [f"  {each['score']:7.2%}  {each['label']}" for each in best]
        if arguments.frame_strip:
            lines += ["", f"The frames that the model saw are in {arguments.frame_strip}."]
        return "\n".join(lines)


TASK = VideoText()
