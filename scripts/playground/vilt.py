"""Pre-training of the playground's tiny ViLT: masked words of captions, on scenes as drawn, never painted over."""

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


CAPTION_STREAM = 11  # scenes.py has streams 8 to 10
TEXT_LENGTH = 40
BATCH_SIZE = 64
LEARNING_RATE = 1e-3
WARMUP_STEPS = 100
RELATIONS = 0.15
"""Share of the relation phrases that pre-training uses, and only in scenes of four."""


class Stage(NamedTuple):
    """A part of the curriculum: scenes of so many objects, so many of them, until this share of answers is right.

    Attributes:
        objects: in every scene.
        scenes: drawn; met again with other statements when the steps need more.
        enough: running share of right answers, of colours and of other words alike, at which the next stage begins.
    """

    objects: int
    scenes: int
    enough: float


CURRICULUM = (Stage(1, 4_000, 0.7), Stage(2, 5_000, 0.65), Stage(3, 5_000, 0.6), Stage(4, 12_000, 1.0))
"""Which word goes with which object is learned from two objects; scenes of four from the start stay at chance."""

COOLDOWN = Stage(4, 6_000, 1.0)
COOLDOWN_WEIGHTS: dict[Kind, float] = {"shape": 1, "size": 1, "position": 2, "color": 1, "relation": 0.5}


def scene_tokenizer() -> BertTokenizer:
    """A tokenizer whose words are whole: captions' and everyday words, and letters for every other ASCII word."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    pieces = [*letters, *(f"##{letter}" for letter in letters), *"!?,;:'\"()-"]
    entries = dict.fromkeys([*special, *caption_words(), *EVERYDAY_WORDS.split(), *pieces])
    return BertTokenizer(vocab={entry: index for index, entry in enumerate(entries)}, model_max_length=TEXT_LENGTH)


def scene_processor(tokenizer: BertTokenizer) -> ViltProcessor:
    """What makes tensors of scenes and texts. Scenes keep their pixels; other pictures are resized to as many."""
    image_processor = ViltImageProcessorPil(
        size={"shortest_edge": SCENE_SIZE}, size_divisor=SCENE_SIZE // CELLS, image_mean=[0.5] * 3, image_std=[0.5] * 3
    )
    return ViltProcessor(image_processor, tokenizer)


def tiny_vilt_config(tokenizer: BertTokenizer) -> ViltConfig:
    """The configuration of a ViLT of about 0.7 M parameters; a patch is as large as a cell of a scene."""
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
    """An untrained tiny ViLT."""
    # ViLT has no fused attention; for rows this short plain attention is the faster one anyway.
    model = ViltForMaskedLM._from_config(tiny_vilt_config(tokenizer), attn_implementation="eager")
    # ViLT begins with zeros and 0.02: what a patch shows, and where it is, would be learned late.
    embeddings = model.vilt.embeddings
    torch.nn.init.normal_(embeddings.patch_embeddings.projection.weight, std=0.05)
    torch.nn.init.normal_(embeddings.position_embeddings, std=0.2)
    torch.nn.init.normal_(embeddings.cls_token, std=0.2)
    return model


def encode_statements(
    captions: Sequence[Sequence[Statement]], tokenizer: BertTokenizer
) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids `(captions, length)` with the answers masked, and labels: the answers' ids, -100 elsewhere."""
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
    """Logits `(asked words, vocabulary)`: those of `ViltForMaskedLM` at `asked`, without its loop over the pictures.

    Args:
        pixels: `(batch, 3, height, width)`, all of the size the model is made for, from -1 to 1.
        tokens: `(batch, length)`.
        asked: `(batch, length)` bool.
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
    """The drawn scenes of a stage and, by kind, the phrases that captions may use.

    Args:
        stage: what to draw.
        seed: of the scenes.
        relations: the share of the relation phrases to use.
        weights: how often a phrase of each kind is used, whatever their number; without weights every phrase is
            equally likely.
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
        """Pictures `(batch, 3, height, width)` from -1 to 1, and one or two statements on each."""
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
    """Trains a tiny ViLT from scratch with masked words and writes it in the layout of a Hub checkpoint.

    Args:
        output_dir: the folder to write.
        seed: of the scenes, the captions, the initial weights and the order.
        steps: optimizer steps of `BATCH_SIZE` pictures through the curriculum, at a constant learning rate.
        cooldown_steps: further steps, over which the learning rate falls; all kinds of phrases have their share.
        curriculum: the stages, in order; the last one lasts to the end.
        cooldown: the scenes of the further steps.
    """
    torch.manual_seed(seed)
    tokenizer = scene_tokenizer()
    model = build_vilt(tokenizer).train()
    with tqdm(total=steps + cooldown_steps, desc="Pre-training") as bar:
        rng = np.random.default_rng((CAPTION_STREAM, seed))
        relations = [*[0.0] * (len(curriculum) - 1), RELATIONS]  # a word more to learn, once the others are
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
    """Steps through pools of scenes: to the next one when the running share of right answers is enough."""
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
