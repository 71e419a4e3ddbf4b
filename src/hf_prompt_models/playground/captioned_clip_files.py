"""Captioned clips written to disk: mp4 files, a list of captions and a list of questions."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from hf_prompt_models.data.videos.writing import write_video
from hf_prompt_models.utils.files import adding_files

from .captioned_clips import describe_clip, distinct_clips
from .clip_questions import questions_about


_CHOICE_STREAM = 17  # alpro_pretraining.py has stream 16


def write_captioned_clips(
    output_dir: str | Path, *, seed: int, train: int = 300, test: int = 200, questions: int = 3, size: int = 64
) -> None:
    """Writes `output_dir/{train,test}/{captions.jsonl,questions.jsonl,<number>.mp4}`.

    A line of the captions has `video` and `caption`; one of the questions `video`, `question`, `answer` and
    `answer_type`. No two test clips have the same caption; training clips may. The same arguments draw the same
    frames, and write the same bytes with the same build of FFmpeg.

    Args:
        output_dir: the folder to write; made where missing.
        seed: names the clips; nothing is shared between seeds but the words.
        train, test: how many clips.
        questions: about each clip, drawn by lot from all that it answers; fewer where there are no more.
        size: height and width in pixels, even.
    """
    drawn = {
        "train": [describe_clip("train", seed, index) for index in range(train)],
        "test": distinct_clips("test", seed, test),
    }
    for number, (split, clips) in enumerate(drawn.items()):
        with adding_files(Path(output_dir) / split) as folder:
            captions, asked = [], []
            for index, clip in enumerate(clips):
                name = f"{index:05d}.mp4"
                write_video(folder / name, clip.draw(size))
                captions.append({"video": name, "caption": clip.caption})
                rng = np.random.default_rng((_CHOICE_STREAM, seed, number, index))
                possible = questions_about(clip)
                for place in sorted(rng.permutation(len(possible))[:questions].tolist()):
                    question, answer, kind = possible[place]
                    asked.append({"video": name, "question": question, "answer": answer, "answer_type": kind})
            _write_lines(folder / "captions.jsonl", captions)
            _write_lines(folder / "questions.jsonl", asked)


def _write_lines(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
