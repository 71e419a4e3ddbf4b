"""Pre-training of the tiny ALPRO on captioned clips: the prompter with the contrastive loss, then all four losses."""

from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import BertTokenizer

from hf_prompt_models.data.videos.frame_sampling import segment_indices
from hf_prompt_models.models.alpro import (
    AlproConfig,
    AlproForPreTraining,
    AlproImageProcessor,
    AlproProcessor,
    AlproPrompter,
)
from hf_prompt_models.models.alpro.modeling_alpro_prompter import IMAGE_TEMPLATES, VIDEO_TEMPLATES, entity_prompts
from hf_prompt_models.models.alpro.processing_alpro import black_outside, mask_words, sample_crop_box
from hf_prompt_models.playground.captioned_clips import ANSWERS, CLIP_COLOURS, VERBS, CaptionedClip, describe_clip
from hf_prompt_models.playground.motions import OBJECTS

from .clip import contrastive_loss
from .vocabulary import EVERYDAY_WORDS


ORDER_STREAM = 16  # captioned_clips.py uses streams 13 to 15
FRAME_SIZE = 48
PATCH_SIZE = 12
NUM_FRAMES = 4
TEXT_LENGTH = 40
STILL_BATCH = 128
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
CLEARLY = 0.7
"""A crop has an object if at least this share of the object is visible, and does not have it if at most the remaining
share is visible."""
MASKED = 0.25
"""Share of masked words; larger than usual because captions are short."""
VIDEO_KINDS = ("footage", "video", "portrait", "video footage")
IMAGE_KINDS = ("photo", "picture", "good photo", "good picture")
ENTITIES = tuple(sorted(OBJECTS))


def all_captions() -> list[str]:
    """Return all possible captions in order."""
    single = [
        f"{'an' if colour[0] in 'aeiou' else 'a'} {colour} {shape}" for shape in ENTITIES for colour in CLIP_COLOURS
    ]
    two = [
        f"{one} and {other}"
        for one, other in combinations(single, 2)
        if one.split()[1] != other.split()[1] and one.split()[2] != other.split()[2]
    ]
    return [f"{who} {verb}" for motion, verb in VERBS.items() for who in (two if motion.startswith("two") else single)]


def question_words() -> list[str]:
    """Return all words of questions and answers."""
    asked = "what color is the object objects doing are two on which side where at beginning end how many there"
    return [*asked.split(), *" ".join(ANSWERS).split()]


def clip_tokenizer() -> BertTokenizer:
    """Build a tokenizer with one token per word of captions, questions and everyday words, and letters for others."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *".!?,;:'\"()-"]
    prompts = entity_prompts(ENTITIES, [*VIDEO_TEMPLATES, *IMAGE_TEMPLATES])
    said = " ".join([*all_captions(), *prompts]).lower().replace(".", "").split()
    words = [*said, *question_words(), *EVERYDAY_WORDS.split(), *pieces]
    entries = dict.fromkeys([*special, *words])
    return BertTokenizer(vocab={entry: index for index, entry in enumerate(entries)}, model_max_length=TEXT_LENGTH)


def tiny_alpro_config(tokenizer: BertTokenizer) -> AlproConfig:
    """Return the configuration of an ALPRO of about 0.9 M parameters, without a prompter."""
    shared = {"hidden_size": 96, "intermediate_size": 192, "num_attention_heads": 4, "hidden_act": "relu"}
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return AlproConfig(
        vision_config={
            **shared,
            **dropout,
            "num_hidden_layers": 4,
            "image_size": FRAME_SIZE,
            "patch_size": PATCH_SIZE,
            "num_frames": 1,
            "drop_path_rate": 0.0,
        },
        text_config={
            **shared,
            **dropout,
            "vocab_size": len(tokenizer),
            "num_hidden_layers": 6,
            "max_position_embeddings": TEXT_LENGTH,
            "pad_token_id": tokenizer.pad_token_id,
        },
        fusion_layer=3,
        projection_dim=64,
        num_entities=0,
    )


def clip_processor(tokenizer: BertTokenizer) -> AlproProcessor:
    """Build the processor of clips and sentences."""
    return AlproProcessor(
        AlproImageProcessor(size={"height": FRAME_SIZE, "width": FRAME_SIZE}),
        tokenizer,
        num_frames=NUM_FRAMES,
        max_text_length=TEXT_LENGTH,
        patch_size=PATCH_SIZE,
    )


def build_alpro(tokenizer: BertTokenizer) -> AlproForPreTraining:
    """Build an untrained tiny ALPRO for single frames, without a prompter."""
    # Eager attention is faster for short rows.
    model = AlproForPreTraining._from_config(tiny_alpro_config(tokenizer), attn_implementation="eager")
    # With the default initialisation of TimeSformer (zeros and a standard deviation of 0.02), the content and the
    # position of patches in space and time are learned late.
    embeddings = model.alpro.video_model.embeddings
    torch.nn.init.normal_(embeddings.patch_embeddings.projection.weight, std=0.05)
    torch.nn.init.normal_(embeddings.position_embeddings, std=1.0)
    torch.nn.init.normal_(embeddings.cls_token, std=0.2)
    for module in model.alpro.modules():
        if isinstance(module, torch.nn.Linear):
            torch.nn.init.normal_(module.weight, std=module.in_features**-0.5)
    return model


def see_motion(model: AlproForPreTraining, seed: int) -> None:
    """Extend a model of single frames to clips, with random time embeddings that tell the frames apart."""
    model.resize_time_embeddings(NUM_FRAMES)
    embeddings = model.alpro.video_model.embeddings.time_embeddings
    with torch.no_grad():
        embeddings.add_(torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(seed)))


class ClipPool:
    """Synthetic clips with `NUM_FRAMES` frames each, one random frame of each of `NUM_FRAMES` segments.

    Args:
        count: number of clips.
        seed: random seed of the clips and frames.

    Attributes:
        clips: descriptions of the clips.
        pixels: frames of shape (clips, frames, 3, size, size), uint8.
        boxes: boxes (left, top, right, bottom) of the two objects in pixels, of shape (clips, frames, 2, 4). A single
            object is repeated.
    """

    def __init__(self, count: int, seed: int):
        rng = np.random.default_rng((ORDER_STREAM, seed, 0))
        self.clips = [describe_clip("pretraining", seed, index) for index in range(count)]
        self.pixels = torch.empty((count, NUM_FRAMES, 3, FRAME_SIZE, FRAME_SIZE), dtype=torch.uint8)
        self.boxes = np.empty((count, NUM_FRAMES, 2, 4))
        for index, clip in enumerate(tqdm(self.clips, desc="Clips", leave=False)):
            chosen = segment_indices(clip.frames, NUM_FRAMES, rng)
            self.pixels[index] = torch.from_numpy(clip.draw(FRAME_SIZE, chosen)).permute(0, 3, 1, 2)
            for place in range(2):
                boxes = clip.performers[place - len(clip.performers)].boxes()[chosen]
                self.boxes[index, :, place] = boxes.clip(0, 1) * FRAME_SIZE

    def prepare(
        self, chosen: np.ndarray, processor: AlproProcessor, frames: slice | np.ndarray = slice(None)
    ) -> torch.Tensor:
        """Return normalised frames of some clips, of shape (batch, frames, 3, size, size), as the processor does.

        Args:
            chosen: indices of the clips.
            processor: the processor, whose mean and standard deviation are used.
            frames: the frames to return. Default: all.
        """
        mean, std = _mean_and_std(processor)
        return (self.pixels[chosen][:, frames].float() / 255 - mean) / std


def _mean_and_std(processor: AlproProcessor) -> tuple[torch.Tensor, torch.Tensor]:
    settings = processor.image_processor
    return torch.tensor(settings.image_mean)[:, None, None], torch.tensor(settings.image_std)[:, None, None]


def draw_crops(count: int, generator: torch.Generator) -> np.ndarray:
    """Sample boxes of crops as in pre-training, of shape (count, 4)."""
    return np.array([sample_crop_box(FRAME_SIZE, PATCH_SIZE, generator) for _ in range(count)])


def shown_inside(boxes: np.ndarray, crops: np.ndarray) -> np.ndarray:
    """Compute the share of each object that is inside a crop, averaged over the frames.

    Args:
        boxes: boxes of the objects, of shape (batch, frames, 2, 4).
        crops: boxes of the crops, of shape (batch, 4).

    Returns:
        Shares from 0 to 1, of shape (batch, 2).
    """
    edges = crops[:, None, None]
    low, high = np.maximum(boxes[..., :2], edges[..., :2]), np.minimum(boxes[..., 2:], edges[..., 2:])
    area = (boxes[..., 2:] - boxes[..., :2]).prod(axis=-1)
    return ((high - low).clip(0).prod(axis=-1) / area).mean(axis=1)


class Claims(NamedTuple):
    """Content of sentences or of clips. A look is a combination of colour and shape, numbered colour by colour.

    Attributes:
        looks: which looks fit the first and the second object, bool of shape (batch, 2, looks). In sentences without
            an object all looks fit; in clips without it none does.
        motion: index of the motion, of shape (batch,), or -1 if it is not mentioned or not visible.
    """

    looks: np.ndarray
    motion: np.ndarray


def _look(colour: str, shape: str) -> int:
    return CLIP_COLOURS.index(colour) * len(ENTITIES) + ENTITIES.index(shape)


def describe(
    clips: Sequence[CaptionedClip], shown: np.ndarray, still: bool, rng: np.random.Generator
) -> tuple[list[str], Claims, Claims]:
    """Sample true sentences about clips.

    A sentence is a caption, or the names of the objects with or without their colours. Half of the sentences begin
    like entity prompts. Sentences mention only visible objects, and mention motions only if the complete clip is
    visible.

    Args:
        clips: the clips.
        shown: which objects are visible, bool of shape (batch, 2).
        still: whether only single frames are visible.
        rng: random generator of all choices.

    Returns:
        The sentences, the content of the sentences, and the visible content of the clips.
    """
    sentences = []
    batch, looks = len(clips), len(CLIP_COLOURS) * len(ENTITIES)
    said = Claims(np.ones((batch, 2, looks), dtype=bool), np.full(batch, -1))
    seen = Claims(np.zeros((batch, 2, looks), dtype=bool), np.full(batch, -1))
    for row, clip in enumerate(clips):
        visible = [each for place, each in enumerate(clip.performers) if shown[row, place]]
        whole = len(visible) == len(clip.performers) and not still
        motion = list(VERBS).index(clip.motion)
        form = str(rng.choice(["caption", "looks", "shapes"], p=(0.5, 0.2, 0.3) if whole else (0, 0.5, 0.5)))
        for place, each in enumerate(visible):
            shape, look = ENTITIES.index(each.shape), _look(each.colour, each.shape)
            seen.looks[row, place, look] = True
            said.looks[row, place] = False
            said.looks[row, place, slice(shape, None, len(ENTITIES)) if form == "shapes" else look] = True
        seen.motion[row] = motion if whole else -1
        said.motion[row] = motion if form == "caption" else -1
        names = [f"a {each.shape}" if form == "shapes" else each.name for each in visible]
        sentence = clip.caption if form == "caption" else " and ".join(names)
        kinds = IMAGE_KINDS if still else VIDEO_KINDS
        sentences.append(f"a {rng.choice(kinds)} of {sentence}." if rng.random() < 0.5 else sentence)
    return sentences, said, seen


def agree(said: Claims, seen: Claims) -> np.ndarray:
    """Return which sentences may be true for which clips, given what is visible.

    Args:
        said: content of the sentences.
        seen: visible content of the clips.

    Returns:
        Bool array of shape (sentences, clips).
    """
    seen_looks = seen.looks.any(axis=1).astype(np.float32)
    fits = [(said.looks[:, place].astype(np.float32) @ seen_looks.T) > 0 for place in range(2)]
    motion = (said.motion[:, None] == seen.motion[None]) | (said.motion[:, None] == -1) | (seen.motion[None] == -1)
    return fits[0] & fits[1] & motion


def _crop_boxes_that_show(boxes: np.ndarray, generator: torch.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Sample crops for half of the clips; the others are not cropped.

    At least one object is visible in a crop, and no object is only partly visible (see `CLEARLY`).

    Returns:
        Boxes of the crops, of shape (batch, 4), and which objects are visible, bool of shape (batch, 2).
    """
    batch = len(boxes)
    crops = np.tile([0, 0, FRAME_SIZE, FRAME_SIZE], (batch, 1))
    shown = np.ones((batch, 2), dtype=bool)
    open_rows = torch.rand(batch, generator=generator).numpy() < 0.5
    for _ in range(6):
        tried = draw_crops(batch, generator)
        share = shown_inside(boxes, tried)
        clear = (share >= CLEARLY) | (share <= 1 - CLEARLY)
        take = open_rows & clear.all(axis=1) & (share >= CLEARLY).any(axis=1)
        crops[take], shown[take] = tried[take], share[take] >= CLEARLY
        open_rows &= ~take
    return crops, shown


def _updater(model: torch.nn.Module, learning_rate: float, steps: int) -> Callable[[], None]:
    """Return a function that makes an optimizer step; the learning rate decreases in the last 40% of the steps."""
    learned = [weight for weight in model.parameters() if weight.requires_grad]
    decayed, others = [w for w in learned if w.ndim > 1], [w for w in learned if w.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / WARMUP_STEPS, 0.02 + 0.98 * min(1.0, 2.5 * (1 - step / steps)))
    )

    def update() -> None:
        torch.nn.utils.clip_grad_norm_(learned, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()

    return update


def train_by_contrast(
    model: AlproForPreTraining, processor: AlproProcessor, pool: ClipPool, steps: int, seed: int
) -> None:
    """Train the prompter with the contrastive loss between clips, or crops of clips, and sentences.

    A model with `num_frames=1` is trained on single frames of the clips.

    Args:
        model: the model, which is trained in place.
        processor: the processor.
        pool: the clips.
        steps: number of optimizer steps.
        seed: random seed of the data order, the crops and the sentences.
    """
    frames = model.config.num_frames
    batch, templates = (BATCH_SIZE, VIDEO_TEMPLATES) if frames > 1 else (STILL_BATCH, IMAGE_TEMPLATES)
    rng = np.random.default_rng((ORDER_STREAM, seed, frames))
    generator = torch.Generator().manual_seed(seed)
    update = _updater(model, LEARNING_RATE, steps)
    mean, std = list(processor.image_processor.image_mean), list(processor.image_processor.image_std)
    running = np.zeros(3)
    bar = tqdm(range(steps), desc="Contrast")
    for step in bar:
        chosen = rng.integers(len(pool.clips), size=batch)
        taken = slice(None) if frames > 1 else rng.integers(NUM_FRAMES, size=1)
        crops, shown = _crop_boxes_that_show(pool.boxes[chosen][:, taken], generator)
        sentences, said, seen = describe([pool.clips[index] for index in chosen], shown, frames == 1, rng)
        template = str(rng.choice(templates))
        tokens = processor(text=[*sentences, *entity_prompts(ENTITIES, [template])], return_tensors="pt")
        pixels = black_outside(pool.prepare(chosen, processor, taken), torch.from_numpy(crops), mean, std)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            videos = model.get_video_features(pixel_values=pixels).pooler_output
            texts = model.get_text_features(**tokens).pooler_output
        logits = texts.float() @ videos.float().T / model.alpro.bounded_temperature()
        ignored = torch.from_numpy(agree(said, seen))
        ignored.fill_diagonal_(False)
        contrast = contrastive_loss(logits[:batch], ignored)
        alone = torch.from_numpy(seen.looks.any(axis=2).sum(axis=1) == 1)
        entity = torch.from_numpy(seen.looks.any(axis=1).argmax(axis=1) % len(ENTITIES))
        question = F.cross_entropy(logits[batch:].T[alone], entity[alone])
        (contrast + question).backward()
        update()
        right = (logits[batch:].T[alone].argmax(dim=1) == entity[alone]).float().mean()
        running += (0.02 if step else 1.0) * (np.array([contrast.item(), question.item(), right.item()]) - running)
        if step % 50 == 49:
            bar.set_postfix_str(
                f"contrast {running[0]:.3f}, entity {running[1]:.3f}, right {running[2]:.2f}, "
                f"temperature {model.alpro.temperature.item():.3f}"
            )


def train_with_all_losses(
    model: AlproForPreTraining, processor: AlproProcessor, pool: ClipPool, steps: int, seed: int
) -> None:
    """Train with the four losses of ALPRO at equal weights.

    They are the contrastive loss, matching with hard negatives, masked language modeling, and entity prediction for
    random crops. The captions of a batch are all different, so that negatives are true negatives.

    Args:
        model: the model, which is trained in place.
        processor: the processor.
        pool: the clips.
        steps: number of optimizer steps.
        seed: random seed of the data order, the negatives, the masked words and the crops.
    """
    torch.manual_seed(seed)  # for the sampling of negatives
    rng = np.random.default_rng((ORDER_STREAM, seed, NUM_FRAMES + 1))
    generator = torch.Generator().manual_seed(seed + 1)
    update = _updater(model, LEARNING_RATE, steps)
    mean, std = list(processor.image_processor.image_mean), list(processor.image_processor.image_std)
    captions = [clip.caption for clip in pool.clips]
    names = ("vtc_loss", "vtm_loss", "mlm_loss", "pem_loss")
    running = np.zeros(len(names))
    bar = tqdm(range(steps), desc="Four losses")
    for step in bar:
        drawn = rng.permutation(len(captions))[: 2 * BATCH_SIZE]
        chosen = np.array(list({captions[index]: index for index in drawn}.values())[:BATCH_SIZE])
        tokens = processor(text=[captions[index] for index in chosen], return_tensors="pt")
        masked, labels = mask_words(tokens["input_ids"], processor.tokenizer, generator, MASKED)
        pixels = pool.prepare(chosen, processor)
        boxes = torch.from_numpy(draw_crops(len(chosen), generator))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            output = model(
                pixel_values=pixels,
                **tokens,
                mlm_input_ids=masked,
                mlm_labels=labels,
                crop_pixel_values=black_outside(pixels, boxes, mean, std),
                crop_boxes=boxes,
            )
        output.loss.backward()
        update()
        running += (0.02 if step else 1.0) * (np.array([output[name].item() for name in names]) - running)
        if step % 50 == 49:
            losses = ", ".join(f"{name[:3]} {value:.3f}" for name, value in zip(names, running, strict=True))
            bar.set_postfix_str(f"{losses}, temperature {model.alpro.temperature.item():.3f}")


def pretrain_alpro(
    output_dir: str | Path,
    seed: int = 0,
    clips: int = 6000,
    still_steps: int = 1200,
    contrast_steps: int = 300,
    steps: int = 900,
) -> None:
    """Train a tiny ALPRO from scratch and save it with its prompter and processor in the format of a Hub checkpoint.

    Args:
        output_dir: output folder.
        seed: random seed of the clips, the sentences, the initial weights and the data order.
        clips: number of clips; they are reused with other sentences and crops if the steps need more.
        still_steps: number of optimizer steps of the prompter on single frames.
        contrast_steps: number of further steps of the prompter on clips. The model is initialised from the prompter.
        steps: number of further steps with all four losses.
    """
    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    processor = clip_processor(tokenizer)
    model = build_alpro(tokenizer).train()
    pool = ClipPool(clips, seed)
    train_by_contrast(model, processor, pool, still_steps, seed)
    see_motion(model, seed)
    train_by_contrast(model, processor, pool, contrast_steps, seed)
    model.set_prompter(AlproPrompter.from_entities(model, ENTITIES, processor))
    train_with_all_losses(model, processor, pool, steps, seed)
    save_small(model, output_dir)
    processor.save_pretrained(output_dir)


def save_small(model: AlproForPreTraining, output_dir: str | Path) -> None:
    """Save weights in float16 to halve their size; they are loaded in float32."""
    model.eval().half().save_pretrained(output_dir)
    model.float().config.dtype = torch.float32
    model.config.save_pretrained(output_dir)
