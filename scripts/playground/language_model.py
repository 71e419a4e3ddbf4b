"""Pre-training of the tiny language model on text only: tokenizer, model and training loop."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from hf_prompt_models.models.frozen.few_shot_frozen import build_fewshot_prompt
from hf_prompt_models.playground.product_cards import CARD_COLOURS, MATERIALS, SIZES
from hf_prompt_models.playground.shapes import SHAPES
from hf_prompt_models.playground.word_binding import NONSENSE_WORDS, WordEpisode, choose_episode
from hf_prompt_models.prefix_lm.processing_prefix_lm import IMAGE_TOKEN

from .card_texts import FRAME, Piece, binding_text, caption_text, product_text
from .vocabulary import EVERYDAY_WORDS


TEXT_STREAM = 16  # product_cards.py uses streams 13 to 15
EOS = "<|endoftext|>"
VOCABULARY_SIZE = 2000
BATCH_SIZE = 32
LEARNING_RATE = 2e-3
ENOUGH = 0.8
"""Share of recalled names at which the number of words between product and name is increased."""
NOISE = 0.3
"""Noise added to the token embeddings, relative to their standard deviation, because image embeddings will not be
exact either."""


def learn_language_tokenizer(texts: Iterable[str]) -> PreTrainedTokenizerFast:
    """Train a byte-level BPE tokenizer, like that of GPT-2, on texts; it can encode any text."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY_SIZE,
        special_tokens=[EOS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=EOS, pad_token=EOS)


def build_language_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """Build an untrained Llama of about 0.6 M parameters.

    The model recalls a name with an induction head, which matches the words before the name with the words before the
    question. This head can only be learned after other heads attend to the previous few tokens, which takes a tiny
    model hours. The heads of the first layer are therefore initialised to attend 1, 2, 3, … tokens back.
    """
    model = LlamaForCausalLM._from_config(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=128,
            intermediate_size=256,
            num_hidden_layers=3,
            num_attention_heads=8,
            max_position_embeddings=512,
            attention_bias=True,
            tie_word_embeddings=True,
            initializer_range=0.05,
            bos_token_id=None,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        ),
        attn_implementation="eager",  # the fastest on a CPU for rows this short
    )
    _look_back(model)
    return model


@torch.no_grad()
def _look_back(model: LlamaForCausalLM, pairs: int = 3, strength: float = 6.0) -> None:
    """Initialise head h of the first layer to attend h + 1 tokens back.

    Rotary position embeddings rotate each pair of query and key components by an angle per token. A constant key and
    the same constant query, rotated back by some number of tokens, have the highest score at exactly that distance.
    """
    attention = model.model.layers[0].self_attn
    heads, half = model.config.num_attention_heads, attention.head_dim // 2
    angles = model.model.rotary_emb.inv_freq[:pairs]
    query, key = (layer.bias.view(heads, 2, half) for layer in (attention.q_proj, attention.k_proj))
    for head in range(heads):
        turn = (head + 1) * angles
        key[head, 0, :pairs] = strength
        query[head, 0, :pairs], query[head, 1, :pairs] = strength * turn.cos(), -strength * turn.sin()
    for layer, share in ((attention.q_proj, 0.2), (attention.k_proj, 0.2), (attention.o_proj, 0.3)):
        layer.weight *= share


def pretrain_language_model(output_dir: str | Path, seed: int = 0, steps: int = 1400) -> None:
    """Train a tokenizer and a tiny Llama on texts and save them in the format of a Hub checkpoint.

    Texts that bind names start easy, with each name directly after its product. The number of words in between is
    increased once the model recalls a share of `ENOUGH` of the names.

    Args:
        output_dir: output folder.
        seed: random seed of the texts and the initial weights.
        steps: number of optimizer steps of `BATCH_SIZE` texts; the learning rate decreases in the second half.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng((TEXT_STREAM, seed))
    start = time.monotonic()
    tokenizer = learn_language_tokenizer(_vocabulary(rng))
    model = build_language_model(tokenizer).train()
    print(f"{len(tokenizer)} tokens; {model.num_parameters()} parameters")
    decayed = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim <= 1]
    groups = [{"params": decayed, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / 100, 0.01 + 2 * (1 - step / steps), 1.0)
    )
    frame, running = 0, np.zeros(2)
    for step in range(steps):
        tokens, told = encode_texts([write_text(rng, frame) for _ in range(BATCH_SIZE)], tokenizer)
        vectors = model.get_input_embeddings()(tokens)
        if frame == len(FRAME):
            vectors = vectors + NOISE * vectors.detach().std() * torch.randn_like(vectors)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            logits = model(inputs_embeds=vectors, use_cache=False).logits[:, :-1].float()
        labels, told = tokens[:, 1:], told[:, 1:]
        ends = (labels == tokenizer.eos_token_id).cumsum(dim=1) > 1  # padding
        loss = F.cross_entropy(logits[~ends], labels[~ends])
        remembering = F.cross_entropy(logits[told], labels[told])
        optimizer.zero_grad()
        (loss + remembering).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        right = (logits[told].argmax(dim=-1) == labels[told]).float().mean().item()
        running = 0.95 * running + 0.05 * np.array([loss.item(), right])
        if frame < len(FRAME) and running[1] > ENOUGH:
            frame, running[1] = frame + 1, 0.0
        if step % 100 == 99:
            print(
                f"step {step + 1}: {frame} words between, loss {running[0]:.3f}, remembered {running[1]:.3f}, "
                f"{time.monotonic() - start:.0f} s",
                flush=True,
            )
    model.eval().save_pretrained(output_dir)
    tokenizer.save_pretrained(output_dir)
    print(f"2-way binding in words, of an unseen seed: {binding_accuracy(model, tokenizer, seed + 1):.3f}")


def write_text(rng: np.random.Generator, frame: int = len(FRAME)) -> list[Piece]:
    """Sample a training text with at most `frame` words between a product and its name."""
    kind = rng.random()
    if rng.random() < 0.3:
        frame = int(rng.integers(frame + 1))
    if kind < 0.7:
        return binding_text(rng, frame, headed=frame == len(FRAME))
    return caption_text(rng, frame) if kind < 0.9 else product_text(rng)


def encode_texts(
    texts: Sequence[Sequence[Piece]], tokenizer: PreTrainedTokenizerFast
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokenize texts.

    Args:
        texts: the pieces of each text.
        tokenizer: the tokenizer.

    Returns:
        Token ids of shape (texts, length) with an end token, which is also the padding; and a bool tensor of the same
        shape, true for the tokens that occurred before.
    """
    pieces = [piece for text in texts for piece in text]
    encoded = iter(tokenizer([piece.text for piece in pieces], add_special_tokens=False)["input_ids"])
    # This works because each of these words is a single token.
    rows: list[list[int]] = []
    marks: list[list[bool]] = []
    for text in texts:
        ids = [(token, place < piece.told) for piece in text for place, token in enumerate(next(encoded))]
        rows.append([token for token, _ in ids] + [tokenizer.eos_token_id])
        marks.append([told for _, told in ids] + [False])
    length = max(map(len, rows))
    tokens = [row + [tokenizer.eos_token_id] * (length - len(row)) for row in rows]
    return torch.tensor(tokens), torch.tensor([mark + [False] * (length - len(mark)) for mark in marks])


@torch.no_grad()
def binding_accuracy(
    model: LlamaForCausalLM,
    tokenizer: PreTrainedTokenizerFast,
    seed: int,
    episodes: int = 1000,
    words: tuple[str, ...] = NONSENSE_WORDS,
) -> float:
    """Compute the share of 2-way episodes in which the model predicts the answer, then the end of the text.

    The prompts have captions in place of images.

    Args:
        model: the model.
        tokenizer: the tokenizer of the model.
        seed: random seed of the stream of episodes.
        episodes: number of episodes.
        words: words that the names are sampled from.
    """
    rng = np.random.default_rng((TEXT_STREAM, seed, 1))
    right = 0
    for _ in range(episodes):
        episode = choose_episode(rng, words=words)
        prompt, answer = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (prompt_in_words(episode), episode.answer)
        )
        wanted = [*answer, tokenizer.eos_token_id]
        logits = model(input_ids=torch.tensor([[*prompt, *wanted]])).logits[0]
        right += logits[len(prompt) - 1 : -1].argmax(dim=-1).tolist() == wanted
    return right / episodes


def prompt_in_words(episode: WordEpisode) -> str:
    """Return the prompt of an episode with captions in place of images, such as "red lamp this is a dax. …"."""
    *shots, query = zip(episode.shown, episode.texts, strict=True)
    prompt, products = build_fewshot_prompt(episode.induction, shots, query)
    pieces = prompt.split(IMAGE_TOKEN)
    return pieces[0] + "".join(f"{product.name} {piece}" for product, piece in zip(products, pieces[1:], strict=True))


def _vocabulary(rng: np.random.Generator) -> list[str]:
    """Return texts with every word that should be a single token."""
    words = (*SHAPES, *CARD_COLOURS, *MATERIALS, *SIZES, *NONSENSE_WORDS)
    texts = ["".join(f" {piece.text}" for piece in write_text(rng)) for _ in range(2000)]
    return [*[" ".join(words)] * 50, *[EVERYDAY_WORDS] * 20, *texts]
