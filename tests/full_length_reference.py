"""CoOp and zero-shot CLIP as in the code of the papers: 77 tokens for each prompt, through `CLIPModel` itself.

The code is deliberately slow and simple, and uses nothing of `hf_prompt_models`. It follows `trainers/coop.py`: the
prompt has a placeholder letter for each context vector, is tokenized and padded to 77 tokens, embedded and reordered,
and the output is taken at the end of the tokenized prompt.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional as F
from transformers import CLIPModel, PreTrainedModel, PreTrainedTokenizerBase


def coop_text_features(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, names: Sequence[str], context: torch.Tensor, position: str
) -> torch.Tensor:
    """(classes, dim), normalised. `context` is (n_ctx, width), or (classes, n_ctx, width)."""
    prompts = [
        _embed(clip, tokenizer, name.replace("_", " "), context[index] if context.dim() == 3 else context, position)
        for index, name in enumerate(names)
    ]
    ids, embedded = (torch.cat(parts) for parts in zip(*prompts, strict=True))
    return F.normalize(_encode(clip, ids, embedded), dim=-1)


def _embed(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, name: str, context: torch.Tensor, position: str
) -> tuple[torch.Tensor, torch.Tensor]:
    n_ctx = len(context)
    ids = _tokenize(clip, tokenizer, " ".join(["x"] * n_ctx) + " " + name + ".")
    embedded = clip.text_model.embeddings.token_embedding(ids)[0]
    start, suffix = embedded[:1], embedded[1 + n_ctx :]
    name_length = len(tokenizer(name, add_special_tokens=False)["input_ids"])
    name_part, rest = suffix[:name_length], suffix[name_length:]
    half = n_ctx // 2
    order = {
        "end": [start, context, name_part, rest],
        "middle": [start, context[:half], name_part, context[half:], rest],
        "front": [start, name_part, context, rest],
    }[position]
    return ids, torch.cat(order)[None]


def _tokenize(clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, text: str) -> torch.Tensor:
    length = clip.config.text_config.max_position_embeddings  # 77 in OpenAI's
    ids = tokenizer(text, padding="max_length", max_length=length, return_tensors="pt")["input_ids"]
    assert ids.shape == (1, length)
    return ids


def _encode(clip: PreTrainedModel, ids: torch.Tensor, embedded: torch.Tensor, **mask: torch.Tensor) -> torch.Tensor:
    """The tower reads the place of the end token, or positions, from `ids`, and sees `embedded`."""
    hook = clip.text_model.get_input_embeddings().register_forward_hook(lambda *_: embedded)
    try:
        return clip.get_text_features(input_ids=ids, **mask).pooler_output
    finally:
        hook.remove()


def coop_text_features_by_offsets(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    context: torch.Tensor,
    position: str,
) -> torch.Tensor:
    """As `coop_text_features`, for backbones whose tokenizers have no placeholder of one token.

    The name is tokenised as it stands after a space and before the full stop, and ends with the token that holds its
    last character. Tokenizers that return an attention mask are those of towers that need one.
    """
    features = []
    for index, name in enumerate(names):
        vectors = context[index] if context.dim() == 3 else context
        n_ctx, text = len(vectors), " " + name.replace("_", " ")
        length = tokenizer.model_max_length - n_ctx
        encoding = tokenizer(text + ".", padding="max_length", max_length=length, return_offsets_mapping=True)
        ids = torch.tensor(encoding["input_ids"])
        start = int(ids[0] in (tokenizer.bos_token_id, tokenizer.cls_token_id))
        spans = enumerate(encoding["offset_mapping"])  # special tokens have empty ones
        end = 1 + max(place for place, (first, last) in spans if first < last and first < len(text))
        before = {"end": n_ctx, "middle": n_ctx // 2, "front": 0}[position]

        def put(parts: torch.Tensor, extra: torch.Tensor, start: int, end: int, before: int) -> torch.Tensor:
            return torch.cat([parts[:start], extra[:before], parts[start:end], extra[before:], parts[end:]])

        embedded = put(model.text_model.get_input_embeddings()(ids), vectors, start, end, before)
        placed = put(ids, ids.new_full((n_ctx,), 4), start, end, before)
        mask = {}
        if "attention_mask" in encoding:
            attended = torch.tensor(encoding["attention_mask"])
            mask["attention_mask"] = put(attended, attended.new_ones(n_ctx), start, end, before)[None]
        features.append(_encode(model, placed[None], embedded[None], **mask))
    return F.normalize(torch.cat(features), dim=-1)


def coop_logits(
    clip: CLIPModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    context: torch.Tensor,
    position: str,
    image_features: torch.Tensor,
) -> torch.Tensor:
    """(batch, classes)."""
    text_features = coop_text_features(clip, tokenizer, names, context, position)
    return clip.logit_scale.exp() * F.normalize(image_features, dim=-1) @ text_features.T


def ensemble_text_features(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, names: Sequence[str], templates: Sequence[str]
) -> torch.Tensor:
    """(classes, dim): normalise each template's features, take their mean, normalise again."""
    features = []
    for name in names:
        prompts = [template.format(name.replace("_", " ")) for template in templates]
        encoded = [
            clip.get_text_features(input_ids=_tokenize(clip, tokenizer, prompt)).pooler_output for prompt in prompts
        ]
        mean = sum(feature / feature.norm() for feature in encoded) / len(encoded)
        features.append(mean / mean.norm())
    return torch.cat(features)
