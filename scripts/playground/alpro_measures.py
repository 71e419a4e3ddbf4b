"""Evaluation of a tiny ALPRO on clips that it was not trained on: retrieval, entities and question answering."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.models.alpro import (
    AlproForPreTraining,
    AlproForVideoQuestionAnswering,
    AlproForVideoTextRetrieval,
    AlproProcessor,
)
from hf_prompt_models.models.alpro.processing_alpro import black_outside
from hf_prompt_models.playground.captioned_clips import (
    ANSWERS,
    CaptionedClip,
    Question,
    describe_clip,
    distinct_clips,
    questions_about,
)

from .alpro import CLEARLY, ENTITIES, draw_crops, shown_inside


BATCH_SIZE = 64
TRAINING_BATCH = 32
KINDS = ("color", "object", "action", "place", "count")


def sample_frames(clip: CaptionedClip, processor: AlproProcessor, rng: np.random.Generator | None = None) -> list[int]:
    """Sample frame indices: the middle frame of each segment, or a random one if `rng` is given."""
    return segment_indices(clip.frames, processor.num_frames, rng)


def draw_pixels(
    clips: Sequence[CaptionedClip], processor: AlproProcessor, rng: np.random.Generator | None = None
) -> torch.Tensor:
    """Draw and process clips, and return pixels of shape (clips, frames, 3, size, size)."""
    size = processor.image_processor.size["height"]
    drawn = [clip.draw(size, sample_frames(clip, processor, rng)) for clip in clips]
    return torch.cat(
        [
            processor(images=[torch.from_numpy(frames).permute(0, 3, 1, 2) for frames in some], return_tensors="pt")[
                "pixel_values"
            ]
            for some in _batches(drawn)
        ]
    )


def _batches(items: Sequence) -> Iterator[Sequence]:
    for start in range(0, len(items), BATCH_SIZE):
        yield items[start : start + BATCH_SIZE]


def recall_at_1(
    model: AlproForVideoTextRetrieval, processor: AlproProcessor, seed: int, clips: int = 200, k: int | None = 16
) -> float:
    """Compute recall at 1 of captions that search a gallery of clips with different captions.

    Args:
        model: the retrieval model.
        processor: the processor.
        seed: random seed of the clips.
        clips: number of clips.
        k: number of clips to rerank per caption, or `None` for all.
    """
    gallery = distinct_clips("test", seed, clips)
    texts = processor(text=[clip.caption for clip in gallery], return_tensors="pt")
    scores = model.rank(texts, draw_pixels(gallery, processor), k=k, batch_size=BATCH_SIZE)
    return (scores.argmax(dim=1) == torch.arange(clips)).float().mean().item()


class EntityCounts(NamedTuple):
    """Number of crops with exactly one object, and of correct entity predictions for them.

    Attributes:
        crops: number of crops with exactly one object.
        student: correct predictions of the entity head, which is given the complete clip and its caption.
        prompter: correct predictions of the prompter, which is given only the crop.
    """

    crops: int
    student: int
    prompter: int


@torch.no_grad()
def count_entities(
    model: AlproForPreTraining, processor: AlproProcessor, seed: int, clips: int = 500, only_two: bool = False
) -> EntityCounts:
    """Count correct entity predictions for one random crop per clip, sampled as in pre-training.

    Crops that do not have exactly one object are left out.

    Args:
        model: the pre-trained model.
        processor: the processor.
        seed: random seed of the clips and crops.
        clips: number of clips.
        only_two: whether to use only clips of two objects, whose captions do not reveal the answer.
    """
    drawn = distinct_clips("test", seed, clips)
    drawn = [clip for clip in drawn if len(clip.performers) == 2 or not only_two]
    crops = draw_crops(len(drawn), torch.Generator().manual_seed(seed))
    settings = processor.image_processor
    counts = np.zeros(3, dtype=int)
    places = list(range(len(drawn)))
    model.eval()
    for some in _batches(places):
        chosen = [drawn[place] for place in some]
        boxes = np.stack([_boxes(clip, processor) for clip in chosen])
        share = shown_inside(boxes, crops[some])
        two = np.array([len(clip.performers) == 2 for clip in chosen])
        held = share >= CLEARLY
        alone = np.where(two, (held.sum(axis=1) == 1) & ((share <= 1 - CLEARLY).sum(axis=1) == 1), held[:, 0])
        pixels, edges = draw_pixels(chosen, processor), torch.from_numpy(crops[some])
        output = model(
            pixel_values=pixels,
            **processor(text=[clip.caption for clip in chosen], return_tensors="pt"),
            crop_pixel_values=black_outside(pixels, edges, list(settings.image_mean), list(settings.image_std)),
            crop_boxes=edges,
        )
        names = list(ENTITIES)
        right = [names.index(clip.performers[int(row.argmax())].shape) for clip, row in zip(chosen, held, strict=True)]
        for place, logits in enumerate((output.entity_logits, output.entity_labels), start=1):
            counts[place] += ((logits.argmax(dim=1).numpy() == right) & alone).sum()
        counts[0] += alone.sum()
    return EntityCounts(*counts.tolist())


def _boxes(clip: CaptionedClip, processor: AlproProcessor) -> np.ndarray:
    """Return boxes of the two objects in pixels, of shape (frames, 2, 4); a single object is repeated."""
    boxes = [each.boxes()[sample_frames(clip, processor)].clip(0, 1) for each in clip.performers]
    return np.stack([boxes[0], boxes[-1]], axis=1) * processor.image_processor.size["height"]


class AnswerShares(NamedTuple):
    """Accuracy of answers, over all questions and by type.

    Attributes:
        model: accuracy of the fine-tuned model.
        prior: accuracy of the most frequent training answer to the same question, or to the question type if the
            question does not occur in training.
        by_type: accuracy of the model and of the prior, by question type.
    """

    model: float
    prior: float
    by_type: dict[str, tuple[float, float]]


def answer_questions(
    directory: str, processor: AlproProcessor, seed: int, train: int = 1500, test: int = 300, steps: int = 700
) -> AnswerShares:
    """Fine-tune on questions about training clips, and answer all questions about test clips.

    Args:
        directory: folder of the pre-trained model.
        processor: the processor.
        seed: random seed of the clips, the data order and the new layers.
        train: number of training clips.
        test: number of test clips.
        steps: number of optimizer steps.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    pretrained = AlproForPreTraining.from_pretrained(directory)
    config = pretrained.config
    config.update({"id2label": dict(enumerate(ANSWERS)), "label2id": {name: i for i, name in enumerate(ANSWERS)}})
    model = AlproForVideoQuestionAnswering(config)
    model.alpro = pretrained.alpro
    clips = [describe_clip("train", seed, index) for index in range(train)]
    pixels = draw_pixels(clips, processor, rng)
    asked = [questions_about(clip) for clip in clips]
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.1 * steps), 1 - step / steps)
    )
    model.train()
    bar = tqdm(range(steps), desc="Questions")
    for step in bar:
        chosen = rng.integers(train, size=TRAINING_BATCH)
        questions = [asked[index][int(rng.integers(len(asked[index])))] for index in chosen]
        tokens = processor(text=[each.question for each in questions], return_tensors="pt")
        labels = model.answer_labels([each.answer for each in questions])
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = model(pixel_values=pixels[chosen], **tokens, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49:
            bar.set_postfix_str(f"loss {loss.item():.3f}")
    return _shares(model.eval(), processor, seed, test, [each for some in asked for each in some])


@torch.no_grad()
def _shares(
    model: AlproForVideoQuestionAnswering,
    processor: AlproProcessor,
    seed: int,
    test: int,
    trained: Sequence[Question],
) -> AnswerShares:
    by_words: dict[str, Counter[str]] = defaultdict(Counter)
    by_kind: dict[str, Counter[str]] = defaultdict(Counter)
    for question, answer, kind in trained:
        by_words[question][answer] += 1
        by_kind[kind][answer] += 1
    clips = distinct_clips("test", seed, test)
    pairs = [(place, question) for place, clip in enumerate(clips) for question in questions_about(clip)]
    pixels = draw_pixels(clips, processor)
    given: list[str] = []
    for some in _batches(pairs):
        tokens = processor(text=[question.question for _, question in some], return_tensors="pt")
        logits = model(pixel_values=pixels[[place for place, _ in some]], **tokens).logits
        given += [model.config.id2label[label] for label in logits.argmax(dim=1).tolist()]
    right: dict[str, list[tuple[bool, bool]]] = defaultdict(list)
    for found, (_, asked) in zip(given, pairs, strict=True):
        counted = by_words[asked.question] or by_kind[asked.question_type]
        usual = counted.most_common(1)[0][0]
        right[asked.question_type].append((found == asked.answer, usual == asked.answer))
    every = np.array([each for some in right.values() for each in some]).mean(axis=0)
    means = {kind: np.array(some).mean(axis=0) for kind, some in right.items()}
    return AnswerShares(
        float(every[0]), float(every[1]), {kind: (float(mean[0]), float(mean[1])) for kind, mean in means.items()}
    )


def measure_alpro(directory: str, seeds: Sequence[int], questions: bool = True) -> None:
    """Evaluate a tiny ALPRO and print tables with one row per seed.

    A seed determines the test clips and their crops and, for question answering, the training clips, the data order
    and the new layers. The pre-trained model is the same for all seeds.

    Args:
        directory: folder of a model trained with `pretrain_alpro`.
        seeds: the random seeds.
        questions: whether to fine-tune for question answering, which takes minutes per seed.
    """
    processor = AlproProcessor.from_pretrained(directory)
    pretrained = AlproForPreTraining.from_pretrained(directory)
    retrieval = AlproForVideoTextRetrieval.from_pretrained(directory)
    print("Captions that find their clip first among 200; objects named correctly in crops that contain one:\n")
    print("| seed | R@1 | crops | entity head | prompter | crops of clips with two objects | entity head |")
    print("|---|---|---|---|---|---|---|")
    for seed in seeds:
        recall = recall_at_1(retrieval, processor, seed)
        every = count_entities(pretrained, processor, seed)
        two = count_entities(pretrained, processor, seed, only_two=True)
        shares = (every.student / every.crops, every.prompter / every.crops, two.student / two.crops)
        print(
            f"| {seed} | {recall:.1%} | {every.crops} | {shares[0]:.1%} | {shares[1]:.1%} | {two.crops} | "
            f"{shares[2]:.1%} |",
            flush=True,
        )
    if questions:
        print("\nRight answers after fine-tuning, and of the most frequent answer to a question of the same words:\n")
        print("| seed | model | prior | " + " | ".join(f"{kind}: model, prior" for kind in KINDS) + " |")
        print("|---" * (3 + len(KINDS)) + "|")
        for seed in seeds:
            found = answer_questions(directory, processor, seed)
            kinds = " | ".join(f"{model:.0%}, {prior:.0%}" for model, prior in map(found.by_type.__getitem__, KINDS))
            print(f"| {seed} | {found.model:.1%} | {found.prior:.1%} | {kinds} |", flush=True)
