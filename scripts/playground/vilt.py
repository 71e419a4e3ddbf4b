"""Pre-training of the tiny ViLT: masked language modeling on captions of scenes, without painted regions."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm
from transformers import BertTokenizer, ViltConfig, ViltForMaskedLM, ViltImageProcessorPil, ViltProcessor

from hf_prompt_models.playground.drawing import COLOURS
from hf_prompt_models.playground.scenes import CELLS, SCENE_SIZE, Kind, Phrase, Scene, draw_scene, unique_phrases

from .scene_captions import Statement, caption_words, state
from .vocabulary import EVERYDAY_WORDS


CAPTION_STREAM = 11  # scenes.py uses streams 8 to 10
TEXT_LENGTH = 40
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
RELATIONS = 0.15
"""Share of the relation phrases that pre-training uses, only in scenes of four objects."""


class Stage(NamedTuple):
    """A stage of the curriculum.

    Attributes:
        objects: number of objects in every scene.
        scenes: number of scenes; they are reused with other statements if the steps need more.
        enough: running accuracy, required for both colours and other words, at which the next stage begins.
    """

    objects: int
    scenes: int
    enough: float


CURRICULUM = (Stage(1, 4_000, 0.7), Stage(2, 5_000, 0.65), Stage(3, 5_000, 0.6), Stage(4, 12_000, 1.0))
"""Which word refers to which object is learned on scenes of two objects. Training only on scenes of four objects does
not get above random guessing."""

COOLDOWN = Stage(4, 6_000, 1.0)
COOLDOWN_WEIGHTS: dict[Kind, float] = {"shape": 1, "size": 1, "position": 2, "color": 1, "relation": 0.5}


def scene_tokenizer() -> BertTokenizer:
    """Build a tokenizer with one token per word of the captions and everyday words, and letters for other words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *"!?,;:'\"()-"]
    entries = dict.fromkeys([*special, *caption_words(), *EVERYDAY_WORDS.split(), *pieces])
    return BertTokenizer(vocab={entry: index for index, entry in enumerate(entries)}, model_max_length=TEXT_LENGTH)


def scene_processor(tokenizer: BertTokenizer) -> ViltProcessor:
    """Build the processor. Scenes keep their size; other images are resized to the same shortest edge."""
    image_processor = ViltImageProcessorPil(
        size={"shortest_edge": SCENE_SIZE}, size_divisor=SCENE_SIZE // CELLS, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return ViltProcessor(image_processor, tokenizer)


def tiny_vilt_config(tokenizer: BertTokenizer) -> ViltConfig:
    """Return the configuration of a ViLT of about 0.7 M parameters, with patches of the size of a cell of a scene."""
    return ViltConfig(
        vocab_size=len(tokenizer),
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=4,
        num_attention_heads=4,
        hidden_act="relu",
        image_size=SCENE_SIZE,
        patch_size=SCENE_SIZE // CELLS,
        max_position_embeddings=TEXT_LENGTH,
        pad_token_id=tokenizer.pad_token_id,
    )


def build_vilt(tokenizer: BertTokenizer) -> ViltForMaskedLM:
    """Build an untrained tiny ViLT."""
    # ViLT has no fused attention, and for rows this short eager attention is faster anyway.
    model = ViltForMaskedLM._from_config(tiny_vilt_config(tokenizer), attn_implementation="eager")
    # With the default initialisation (zeros and a standard deviation of 0.02), the content and the position of patches
    # are learned late.
    embeddings = model.vilt.embeddings
    torch.nn.init.normal_(embeddings.patch_embeddings.projection.weight, std=0.05)
    torch.nn.init.normal_(embeddings.position_embeddings, std=0.2)
    torch.nn.init.normal_(embeddings.cls_token, std=0.2)
    return model


def encode_statements(
    captions: Sequence[Sequence[Statement]], tokenizer: BertTokenizer
) -> tuple[torch.Tensor, torch.Tensor]:
    """Convert statements to masked token ids and labels.

    Args:
        captions: the statements of each caption.
        tokenizer: the tokenizer.

    Returns:
        Token ids of shape (captions, length) with the answers masked, and labels of the same shape with the ids of the
        answers and -100 elsewhere.
    """
    ids = tokenizer.get_vocab()
    begin, end, mask, pad = (ids[token] for token in ("[CLS]", "[SEP]", "[MASK]", "[PAD]"))
    length = 2 + max(sum(len(statement.words) for statement in caption) for caption in captions)
    tokens = torch.full((len(captions), length), pad)
    labels = torch.full((len(captions), length), -100)
    for row, caption in enumerate(captions):
        place = 1
        tokens[row, 0] = begin
        for statement in caption:
            for word in statement.words:
                tokens[row, place] = ids[word]
                place += 1
            answer = place - len(statement.words) + statement.answer
            labels[row, answer], tokens[row, answer] = tokens[row, answer].item(), mask
        tokens[row, place] = end
    return tokens, labels


def masked_logits(
    model: ViltForMaskedLM, pixels: torch.Tensor, tokens: torch.Tensor, asked: torch.Tensor
) -> torch.Tensor:
    """Compute the logits of `ViltForMaskedLM` at the masked words, without its loop over the images.

    Args:
        model: the model.
        pixels: images of shape (batch, 3, height, width), of the image size of the model, with values from -1 to 1.
        tokens: token ids of shape (batch, length).
        asked: mask of the words to predict, bool of shape (batch, length).

    Returns:
        Logits of shape (masked words, vocabulary).
    """
    embeddings = model.vilt.embeddings
    patches = embeddings.patch_embeddings(pixels).flatten(2).transpose(1, 2)
    patches = torch.cat([embeddings.cls_token.expand(len(patches), -1, -1), patches], dim=1)
    patches = patches + embeddings.position_embeddings
    hidden = model.vilt(
        input_ids=tokens,
        attention_mask=(tokens != model.config.pad_token_id).long(),
        image_embeds=patches,
        pixel_mask=torch.ones(patches.shape[:2], dtype=torch.long),
    ).last_hidden_state
    return model.mlm_score(hidden[:, : tokens.shape[1]][asked])


class _Pool:
    """The scenes of a stage and the phrases that captions may use.

    Args:
        stage: the stage of the curriculum.
        seed: random seed of the scenes.
        rng: random generator of the choice of relation phrases.
        relations: share of the relation phrases to use.
        weights: weight of each kind of phrase, independent of the number of phrases. Default: all phrases are equally
            likely.
    """

    def __init__(
        self,
        stage: Stage,
        seed: int,
        rng: np.random.Generator,
        relations: float = 0.0,
        weights: dict[Kind, float] | None = None,
    ):
        self.scenes: list[Scene] = [
            draw_scene("pretraining", seed, index, stage.objects)
            for index in tqdm(range(stage.scenes), desc=f"Scenes of {stage.objects}", leave=False)
        ]
        self.phrases = [
            [p for p in unique_phrases(scene.objects) if p.kind != "relation" or rng.random() < relations]
            for scene in self.scenes
        ]
        pixels = np.stack([np.asarray(scene.image) for scene in self.scenes])
        self.pixels = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()
        self.weights = weights

    def batch(self, rng: np.random.Generator) -> tuple[torch.Tensor, list[list[Statement]]]:
        """Sample images of shape (batch, 3, height, width) from -1 to 1, with one or two statements for each."""
        chosen = rng.integers(len(self.scenes), size=BATCH_SIZE)
        statements = 1 if rng.random() < 0.25 else 2
        captions = [
            [state(self.scenes[index].objects, rng, self._choice(index, rng)) for _ in range(statements)]
            for index in chosen
        ]
        return self.pixels[chosen].float() / 127.5 - 1, captions

    def _choice(self, index: int, rng: np.random.Generator) -> list[Phrase]:
        phrases = self.phrases[index]
        if self.weights is None:
            return phrases
        kinds = sorted({phrase.kind for phrase in phrases})
        odds = np.array([self.weights[kind] for kind in kinds])
        kind = kinds[int(rng.choice(len(kinds), p=odds / odds.sum()))]
        return [phrase for phrase in phrases if phrase.kind == kind]


def pretrain_vilt(
    output_dir: str | Path,
    seed: int = 0,
    steps: int = 5000,
    cooldown_steps: int = 2600,
    curriculum: Sequence[Stage] = CURRICULUM,
    cooldown: Stage = COOLDOWN,
) -> None:
    """Train a tiny ViLT from scratch with masked language modeling and save it in the format of a Hub checkpoint.

    Args:
        output_dir: output folder.
        seed: random seed of the scenes, the captions, the initial weights and the data order.
        steps: number of optimizer steps of `BATCH_SIZE` images in the curriculum, at a constant learning rate.
        cooldown_steps: number of further steps with a decreasing learning rate and with all kinds of phrases, weighted
            by `COOLDOWN_WEIGHTS`.
        curriculum: the stages in order; the last one lasts until the end of `steps`.
        cooldown: the scenes of the further steps.
    """
    torch.manual_seed(seed)
    tokenizer = scene_tokenizer()
    model = build_vilt(tokenizer).train()
    with tqdm(total=steps + cooldown_steps, desc="Pre-training") as bar:
        rng = np.random.default_rng((CAPTION_STREAM, seed))
        relations = [*[0.0] * (len(curriculum) - 1), RELATIONS]  # only in the last stage, after the other words
        pools = (
            (_Pool(stage, seed, rng, share), stage.enough) for stage, share in zip(curriculum, relations, strict=True)
        )
        _learn(model, tokenizer, pools, steps, lambda step: min((step + 1) / WARMUP_STEPS, 1.0), rng, bar)
        rng = np.random.default_rng((CAPTION_STREAM, seed, 1))
        pools = ((_Pool(stage, seed, rng, RELATIONS, COOLDOWN_WEIGHTS), stage.enough) for stage in [cooldown])
        _learn(
            model,
            tokenizer,
            pools,
            cooldown_steps,
            lambda step: min((step + 1) / WARMUP_STEPS, 1.0, 0.02 + 1.5 * (1 - step / cooldown_steps)),
            rng,
            bar,
        )
    model.eval().save_pretrained(output_dir)
    scene_processor(tokenizer).save_pretrained(output_dir)


def _learn(
    model: ViltForMaskedLM,
    tokenizer: BertTokenizer,
    pools: Iterator[tuple[_Pool, float]],
    steps: int,
    schedule: Callable[[int], float],
    rng: np.random.Generator,
    bar: tqdm,
) -> None:
    """Train on pools of scenes, with the next pool once the running accuracy is high enough."""
    ids = tokenizer.get_vocab()
    is_colour = torch.zeros(len(tokenizer), dtype=torch.bool)
    is_colour[[ids[word] for word in (*COLOURS, "none")]] = True
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    (pool, enough), right, since = next(pools), np.zeros(2), 0
    for _ in range(steps):
        if since >= WARMUP_STEPS and min(right) > enough:
            (pool, enough), right, since = next(pools), np.zeros(2), 0
        pixels, captions = pool.batch(rng)
        tokens, labels = encode_statements(captions, tokenizer)
        asked = labels != -100
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = masked_logits(model, pixels, tokens, asked)
        answers = labels[asked]
        loss = F.cross_entropy(logits.float(), answers)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        scheduler.step()
        since += 1
        hits, colours = logits.argmax(dim=1) == answers, is_colour[answers]
        for kind, members in enumerate((colours, ~colours)):
            if members.any():
                right[kind] = 0.98 * right[kind] + 0.02 * hits[members].float().mean().item()
        bar.update()
        if since % 100 == 0:
            objects = len(pool.scenes[0].objects)
            bar.set_postfix_str(f"{objects} objects, right: colours {right[0]:.2f}, others {right[1]:.2f}")
