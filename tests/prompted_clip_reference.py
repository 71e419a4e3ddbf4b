"""Reference implementation of the methods with prompts in the towers of CLIP, slow and simple.

Every class is a row of 77 tokens, encoded by itself, layer by layer. Nothing of `hf_prompt_models` is used. The code
follows the released trainers (the repository of MaPLe, PromptSRC, KgCoOp, ProGrad, CoCoOp, TCP, MMRL).
"""

from collections.abc import Mapping, Sequence

import torch
from torch.nn import functional as F
from transformers import CLIPModel, PreTrainedTokenizerBase


def token_ids(clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, text: str) -> torch.Tensor:
    """(77,) padded token ids of one text."""
    length = clip.config.text_config.max_position_embeddings
    ids = tokenizer(text, padding="max_length", max_length=length, return_tensors="pt")["input_ids"]
    assert ids.shape == (1, length)
    return ids[0]


def end_of(tokenizer: PreTrainedTokenizerBase, ids: torch.Tensor) -> int:
    return ids.tolist().index(tokenizer.eos_token_id)


def encode_text(
    clip: CLIPModel,
    embedded: torch.Tensor,
    end: int,
    deep: Mapping[int, torch.Tensor] | None = None,
    inserted: Mapping[int, torch.Tensor] | None = None,
) -> torch.Tensor:
    """The projected feature of one text, (dim,), not normalised.

    Args:
        clip: the backbone.
        embedded: (77, width) token embeddings, prompts among them, without positions.
        end: where its end token is.
        deep: by layer, vectors that replace what is at places 1, 2, … of its input.
        inserted: by layer, vectors that are inserted after the start token, or replace those inserted before.
    """
    model = clip.text_model
    hidden = (embedded + model.embeddings.position_embedding.weight)[None]
    count = 0
    for index, layer in enumerate(model.encoder.layers):
        if deep and index in deep:
            vectors = deep[index]
            hidden = torch.cat([hidden[:, :1], vectors[None].to(hidden), hidden[:, 1 + len(vectors) :]], dim=1)
        if inserted and index in inserted:
            vectors = inserted[index]
            hidden = torch.cat([hidden[:, :1], vectors[None].to(hidden), hidden[:, 1 + count :]], dim=1)
            end += len(vectors) - count
            count = len(vectors)
        length = hidden.shape[1]
        mask = torch.full((length, length), torch.finfo(hidden.dtype).min, dtype=hidden.dtype).triu(1)[None, None]
        hidden = layer(hidden, mask)
    return clip.text_projection(model.final_layer_norm(hidden[0, end]))


def plain_text_feature(clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, text: str) -> torch.Tensor:
    """(dim,), not normalised, through `CLIPModel` itself."""
    return clip.get_text_features(input_ids=token_ids(clip, tokenizer, text)[None]).pooler_output[0]


def teacher_features(
    clip: CLIPModel, tokenizer: PreTrainedTokenizerBase, names: Sequence[str], templates: Sequence[str]
) -> torch.Tensor:
    """(classes, dim): the mean over templates of features that are not normalised, normalised then."""
    with torch.no_grad():
        rows = [
            sum(plain_text_feature(clip, tokenizer, template.format(name)) for template in templates) / len(templates)
            for name in names
        ]
    return F.normalize(torch.stack(rows), dim=-1)


def class_features(
    clip: CLIPModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    context: torch.Tensor,
    ending: str = "{}.",
    words: str = "",
    deep: Mapping[int, torch.Tensor] | None = None,
    deep_of_class: Mapping[int, torch.Tensor] | None = None,
) -> torch.Tensor:
    """Compute normalised features, of shape (classes, dim), of prompts `start, context, words, name, ending`.

    Args:
        clip: the backbone.
        tokenizer: tokenizer of the backbone.
        names: class names.
        context: context vectors of shape (n_ctx, width).
        ending: text after the words.
        words: words between context and name, which are not trained.
        deep: vectors that replace the context, by layer.
        deep_of_class: vectors of shape (classes, n_ctx, width) that replace the context of each class, by layer.
    """
    rows, n_ctx = [], len(context)
    for number, name in enumerate(names):
        text = " ".join(["x"] * n_ctx) + f" {words} " + ending.format(name)
        ids = token_ids(clip, tokenizer, text)
        embedded = clip.text_model.embeddings.token_embedding(ids)
        embedded = torch.cat([embedded[:1], context.to(embedded), embedded[1 + n_ctx :]])
        own = {index: vectors[number] for index, vectors in (deep_of_class or {}).items()}
        rows.append(encode_text(clip, embedded, end_of(tokenizer, ids), {**(deep or {}), **own}))
    return F.normalize(torch.stack(rows), dim=-1)


def inserted_class_features(
    clip: CLIPModel,
    tokenizer: PreTrainedTokenizerBase,
    names: Sequence[str],
    template: str,
    inserted: Mapping[int, torch.Tensor],
) -> torch.Tensor:
    """(classes, dim), normalised, of a template with vectors inserted after its start token at some layers."""
    rows = []
    for name in names:
        ids = token_ids(clip, tokenizer, template.format(name))
        embedded = clip.text_model.embeddings.token_embedding(ids)
        rows.append(encode_text(clip, embedded, end_of(tokenizer, ids), inserted=inserted))
    return F.normalize(torch.stack(rows), dim=-1)


def encode_image(clip: CLIPModel, pixels: torch.Tensor, appended: Sequence[torch.Tensor]) -> torch.Tensor:
    """(dim,), normalised, of one image, (3, height, width), with prompts behind its patches in the first layers."""
    model = clip.vision_model
    hidden = model.embeddings(pixels[None])
    patches = hidden.shape[1]
    for index, layer in enumerate(model.encoder.layers):
        if index == 0:
            if appended:
                hidden = torch.cat([hidden, appended[0][None].to(hidden)], dim=1)
            hidden = model.pre_layrnorm(hidden)
        elif index < len(appended):
            hidden = torch.cat([hidden[:, :patches], appended[index][None].to(hidden)], dim=1)
        hidden = layer(hidden, None)
    return F.normalize(clip.visual_projection(model.post_layernorm(hidden[0, 0])), dim=-1)


def encode_image_with_inserted(
    clip: CLIPModel, pixels: torch.Tensor, inserted: Mapping[int, torch.Tensor]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Of one image its feature, (dim,), normalised, and the mean of the normed inserted tokens, (width,)."""
    model = clip.vision_model
    hidden = model.pre_layrnorm(model.embeddings(pixels[None]))
    patches, count = hidden.shape[1] - 1, 0
    for index, layer in enumerate(model.encoder.layers):
        if index in inserted:
            vectors = inserted[index][None].to(hidden)
            hidden, count = torch.cat([hidden[:, :1], vectors, hidden[:, -patches:]], dim=1), vectors.shape[1]
        hidden = layer(hidden, None)
    feature = F.normalize(clip.visual_projection(model.post_layernorm(hidden[0, 0])), dim=-1)
    return feature, model.post_layernorm(hidden[0, 1 : 1 + count]).mean(dim=0)
