"""Testing and asking trained models over videos with texts."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModel, AutoProcessor, PreTrainedConfig

from hf_prompt_models.data.readable import logger, refuse, report_skipped, without_unreadable
from hf_prompt_models.data.text.captioned_videos import (
    VideoText,
    VideoTexts,
    read_captioned_videos,
    read_video_questions,
)
from hf_prompt_models.data.text.video_text_dataset import VideoTextDataset
from hf_prompt_models.data.videos.files import list_videos, readable_videos
from hf_prompt_models.metrics.classification import mean_and_deviation
from hf_prompt_models.models.alpro import (
    AlproConfig,
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproModel,
    AlproVideoIndex,
    VideoQuestionAnsweringPipeline,
    VideoTextRetrievalPipeline,
)
from hf_prompt_models.models.alpro.video_index_alpro import digest
from hf_prompt_models.tasks.video_text.evaluation import Loading
from hf_prompt_models.tasks.video_text.plots import plot_found
from hf_prompt_models.tasks.video_text.summary import chance_lines, metric_lines, shown_places
from hf_prompt_models.tasks.video_text.tested import test_model
from hf_prompt_models.tasks.video_text.training import report_cut_sentences
from hf_prompt_models.training.run_folder import model_directories, predictions_file, seed_words
from hf_prompt_models.utils.files import UnreadableFileError


INDEX_FILE = "videos.safetensors"


def takes_videos_with_texts(run: str) -> bool:
    """Whether the models of a run, or a model folder, are ALPRO's."""
    return _config(next(iter(model_directories(run).values()))).get("model_type") == AlproConfig.model_type


def evaluate_video_text(
    run: str,
    test: str | Sequence[str],
    videos: str | None = None,
    rerank: int = 16,
    on_unreadable: str = "refuse",
    loading: Loading | None = None,
    predictions: str | None = None,
) -> dict[str, Any]:
    """Test a trained model, or each seed's model of a run, on captions or on questions, whichever it is for.

    Args:
        run: the folder of a model, or of a run of several seeds.
        test, videos: as for `read_captioned_videos`, or `read_video_questions`.
        rerank: as for `retrieve`.
        on_unreadable: as for `VideoTexts.readable`.
        loading: of the videos.
        predictions: a CSV file to write, as of `predictions_file`.

    Returns:
        What `hf-prompt evaluate --json` writes.
    """
    directories = model_directories(run)
    loading = loading or Loading()
    asks = _config(next(iter(directories.values()))).get("architectures") == [AlproForVideoQuestionAnswering.__name__]
    read: Any = read_video_questions if asks else read_captioned_videos
    config = AutoConfig.from_pretrained(next(iter(directories.values())))
    num_frames = config.num_frames

    def test_all(test_set: VideoTexts[Any]) -> tuple[VideoTexts[Any], dict[str, dict[str, Any]], dict[str, Any], int]:
        seeds: dict[str, dict[str, Any]] = {}
        cut = 0
        for seed, directory in directories.items():
            model = AutoModel.from_pretrained(directory).eval()
            model.processor = AutoProcessor.from_pretrained(directory)
            if not seeds:  # the seeds share their settings
                cut = report_cut_sentences(model.processor, test_set)
            tested = test_model(model, test_set, None if isinstance(model, AlproModel) else rerank, loading)
            seeds[seed] = tested.metrics | {"model": str(directory)}
            if predictions is not None:
                tested.write_tables(predictions_file(predictions, seed, directories))
        return test_set, seeds, tested.guesses, cut

    test_set, seeds, guesses, cut = without_unreadable(
        read(test, videos).readable(on_unreadable, loading.progress),
        test_all,
        lambda texts, index: VideoTextDataset(texts.items, num_frames)[index],
        on_unreadable,
        "texts",
    )
    return {
        "data": {
            "test": test_set.source,
            "test_texts": len(test_set),
            "test_videos": len(test_set.videos),
            "skipped": list(test_set.skipped),
            "cut_texts": cut,
        },
        **guesses,
        **({"answers": config.num_labels} if asks else {}),
        "seeds": seeds,
        "accuracy": mean_and_deviation([metrics["accuracy"] for metrics in seeds.values()]),
    }


def summarise_evaluation(results: dict[str, Any]) -> str:
    """The lines that `hf-prompt evaluate` prints."""
    data = results["data"]
    lines = [f"{data['test_texts']} texts on {data['test_videos']} videos"]
    if data["skipped"]:
        lines.append(f"Left out, as they cannot be read: {len(data['skipped'])} videos.")
    lines += chance_lines(results)
    if "answers" in results:
        lines.append(f"  one of {results['answers']} answers each; chance {1 / results['answers']:.2%}")
    for seed, metrics in results["seeds"].items():
        shown = shown_places(results.get("chance", {}))
        lines += metric_lines(seed_words(seed), metrics, results.get("kinds", {}), shown)
        if metrics.get("outside"):
            lines.append(f"  {metrics['outside']} right answers are not in the model's list, and count as wrong.")
    if len(results["seeds"]) > 1:
        lines.append(f"mean ± deviation  {results['accuracy']['mean']:.2%} ± {results['accuracy']['std']:.2%}")
    return "\n".join(lines)


def answer_question(
    directory: str | os.PathLike, videos: Sequence[str], question: str, top_k: int, on_unreadable: str
) -> list[tuple[str, list[dict[str, Any]]]]:
    """Each video with its best answers as `label` and `score`.

    Raises:
        UnreadableVideoError: naming videos that cannot be read.
        ValueError: if the model answers no questions, or there is none.
    """
    architecture = _architecture(directory)
    if architecture != AlproForVideoQuestionAnswering.__name__:
        raise ValueError(f"{directory} holds an {architecture}, which answers no questions: leave --question out.")
    model = AlproForVideoQuestionAnswering.from_pretrained(directory)
    files = readable_videos(list_videos(videos), on_unreadable, progress=False)
    pipe = VideoQuestionAnsweringPipeline(model=model, processor=AutoProcessor.from_pretrained(directory))
    answers = []
    skipped: list[UnreadableFileError] = []
    for file in files:
        try:
            best = pipe({"video": file, "question": question}, top_k=top_k)
        except UnreadableFileError as error:  # the check does not decode all of a video
            if on_unreadable != "skip":
                refuse([error])
            logger.warning(f"Skipped. {error}")
            skipped.append(error)
            continue
        answers.append((file, [{"label": each["answer"], "score": each["score"]} for each in best]))
    report_skipped(answers, skipped, "videos")
    return answers


def find_videos_by_text(
    directory: str | os.PathLike,
    videos: Sequence[str],
    text: str,
    top_k: int,
    index: str | os.PathLike | None = None,
    drawing: str | os.PathLike | None = None,
    rerank: int = 16,
    batch_size: int = 8,
) -> tuple[list[dict[str, Any]], AlproVideoIndex]:
    """The videos that a sentence describes, best first, with `video` and `score`; and the index of all of them.

    Args:
        directory: of the model.
        videos: files, folders of frames, or folders of videos. Those that cannot be read are skipped.
        text: the sentence.
        top_k: how many.
        index: a folder in which the videos' features are kept: they are computed again where videos were added,
            removed or changed, or the model is another.
        drawing: a PNG to write the best videos' frames to, if any.
        rerank: videos that are read together with the sentence; 0: all.
        batch_size: videos that are encoded at a time.

    Raises:
        ValueError: if the model searches no videos, or none can be read.
    """
    architecture = _architecture(directory)
    if architecture not in (AlproForVideoTextRetrieval.__name__, AlproForPreTraining.__name__):
        raise ValueError(f"{directory} holds an {architecture}, which does not search videos: leave --text out.")
    model = AlproForVideoTextRetrieval.from_pretrained(directory)
    pipe = VideoTextRetrievalPipeline(model=model, processor=AutoProcessor.from_pretrained(directory))
    files = list_videos(videos)
    found = kept_or_new_index(pipe, files, None if index is None else Path(index) / INDEX_FILE, batch_size)
    best = pipe(text, index=found, k=rerank or None, top_k=top_k)
    if drawing is not None:
        shown = [VideoText(Path(each["video"]), text) for each in best]
        plot_found(text, shown, [each["score"] for each in best], drawing)
    return best, found


def kept_or_new_index(
    pipe: VideoTextRetrievalPipeline,
    videos: Sequence[str],
    file: Path | None,
    batch_size: int = 8,
    on_read: Callable[[int, int], object] | None = None,
) -> AlproVideoIndex:
    """The index in a file, if it is one of these videos as they are now, by the pipeline's model; else a new one.

    Args:
        pipe: whose model encodes the videos.
        videos: the files.
        file: where a new one is kept, if anywhere.
        batch_size, on_read: as of `pipe.index_videos`.

    Raises:
        ValueError: if the file is no index; if no video can be read.
    """
    found = None if file is None else _kept_index(file, videos, pipe.model)
    return pipe.index_videos(videos, file, batch_size, on_read) if found is None else found


def _kept_index(file: Path, videos: Sequence[str], model: Any) -> AlproVideoIndex | None:
    """The index in a file, if it is one of these videos as they are now, by this model."""
    try:
        made = file.stat().st_mtime  # before it is read: another process may write a newer one meanwhile
        index = AlproVideoIndex.load(file)
    except FileNotFoundError:
        return None
    if {*index.names, *index.skipped} != set(videos) or index.model_digest != digest(model):
        return None
    return index if all(_is_older(Path(video), made) for video in index.names) else None


def _is_older(video: Path, made: float) -> bool:
    try:
        return video.stat().st_mtime <= made
    except FileNotFoundError:  # reading it says so
        return False


def _architecture(directory: str | os.PathLike) -> str:
    return _config(directory).get("architectures", ["model"])[0]


def _config(directory: str | os.PathLike) -> dict[str, Any]:
    return PreTrainedConfig.get_config_dict(directory)[0]
