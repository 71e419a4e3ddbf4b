"""Oscar (arXiv 2004.06165), the backbone of CPT's released code: a BERT that reads words, then detected regions.

The modules are those of transformers' BERT. Regions have no position and no segment, and are appended to the text
embeddings. Parameters are named as in the released checkpoints (microsoft/Oscar, oscar/modeling/modeling_bert.py).
"""

from typing import ClassVar

import torch
from torch import nn
from torch.nn import functional as F
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput
from transformers.models.bert.modeling_bert import (
    BertEmbeddings,
    BertEncoder,
    BertOnlyMLMHead,
    BertPreTrainedModel,
)
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs
from transformers.utils.output_capturing import capture_outputs

from hf_prompt_models.modeling_utils import at_least_float32
from hf_prompt_models.models.cpt.configuration_oscar import OscarConfig
from hf_prompt_models.utils.forward_options import forward_options


class OscarPreTrainedModel(BertPreTrainedModel):
    """Base of the Oscar models."""

    config: OscarConfig
    accepts_loss_kwargs = False  # tells the Trainer that the loss is a mean over the batch

    def passed_on_keywords(self) -> frozenset[str]:
        """Return further keyword arguments of `forward`: none."""
        return frozenset()


class OscarModel(OscarPreTrainedModel):
    """The encoder over words and regions, without BERT's pooler.

    Example:
        ```python
        >>> import torch
        >>> from hf_prompt_models import OscarConfig, OscarModel
        >>> config = OscarConfig(hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
        >>> model = OscarModel(config).eval()
        >>> model(torch.tensor([[101, 102]]), region_features=torch.randn(1, 3, 2054)).last_hidden_state.shape
        torch.Size([1, 5, 16])

        ```
    """

    def __init__(self, config: OscarConfig):
        super().__init__(config)
        self.embeddings = BertEmbeddings(config)
        self.img_embedding = nn.Linear(config.region_feature_size, config.hidden_size)
        if config.use_region_layer_norm:
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.region_layer_norm_eps)
        self.dropout = nn.Dropout(config.hidden_dropout_prob)
        self.encoder = BertEncoder(config)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Return the word embeddings."""
        return self.embeddings.word_embeddings

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Set the word embeddings."""
        self.embeddings.word_embeddings = value

    @forward_options
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        region_features: torch.Tensor | None = None,
        region_attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutput:
        """Encode words and regions.

        Args:
            input_ids: (batch, words) token ids.
            attention_mask: (batch, words), 1 for words, 0 for padding. Default: no padding.
            token_type_ids: (batch, words), 0 for the sentence, 1 for the object tags. Default: 0.
            region_features: (batch, regions, region_feature_size). Default: no regions.
            region_attention_mask: (batch, regions), 1 for regions, 0 for padding. Default: no padding.
            position_ids: (batch, words). Default: 0, 1, 2, ….
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `last_hidden_state` (batch, words + regions, hidden_size).

        Raises:
            ValueError: if the region features have another shape.
        """
        embeddings = self.embeddings(input_ids, token_type_ids=token_type_ids, position_ids=position_ids)
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        if region_features is not None:
            regions = self._embed_regions(region_features, len(input_ids))
            if region_attention_mask is None:
                region_attention_mask = attention_mask.new_ones(regions.shape[:2])
            embeddings = torch.cat([embeddings, regions], dim=1)
            attention_mask = torch.cat([attention_mask, region_attention_mask.to(attention_mask)], dim=1)
        mask = create_bidirectional_mask(self.config, inputs_embeds=embeddings, attention_mask=attention_mask)
        return BaseModelOutput(self.encoder(embeddings, attention_mask=mask, **kwargs).last_hidden_state)

    def _embed_regions(self, features: torch.Tensor, batch_size: int) -> torch.Tensor:
        size = self.config.region_feature_size
        if features.dim() != 3 or features.shape[0] != batch_size or features.shape[2] != size:
            raise ValueError(
                f"Expected region_features of shape ({batch_size}, regions, {size}) (batch, regions, feature "
                f"dimension), got {tuple(features.shape)}."
            )
        regions = self.img_embedding(features.to(self.img_embedding.weight.dtype))
        if self.config.use_region_layer_norm:
            regions = self.LayerNorm(regions)
        return self.dropout(regions)


class OscarForMaskedLM(OscarPreTrainedModel):
    """Oscar with a masked-language head, which fills in masked words of a text about an image's regions.

    Example:
        ```python
        >>> import torch
        >>> from hf_prompt_models import OscarConfig, OscarForMaskedLM
        >>> config = OscarConfig(vocab_size=200, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
        >>> model = OscarForMaskedLM(config).eval()
        >>> model(torch.tensor([[101, 103, 102]]), region_features=torch.randn(1, 5, 2054)).logits.shape
        torch.Size([1, 3, 200])

        ```
    """

    _tied_weights_keys: ClassVar[dict[str, str]] = {
        "cls.predictions.decoder.weight": "bert.embeddings.word_embeddings.weight",
        "cls.predictions.decoder.bias": "cls.predictions.bias",
    }

    def __init__(self, config: OscarConfig):
        super().__init__(config)
        self.bert = OscarModel(config)
        self.cls = BertOnlyMLMHead(config)
        self.post_init()

    def get_output_embeddings(self) -> nn.Module:
        """Return the output layer of the masked-language head."""
        return self.cls.predictions.decoder

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        """Set the output layer of the masked-language head."""
        self.cls.predictions.decoder = new_embeddings
        self.cls.predictions.bias = new_embeddings.bias

    @forward_options
    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        token_type_ids: torch.Tensor | None = None,
        region_features: torch.Tensor | None = None,
        region_attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> MaskedLMOutput:
        """Compute the logits of the words, and the loss if labels are given.

        Args:
            input_ids: as in [`OscarModel`].
            attention_mask: as in [`OscarModel`].
            token_type_ids: as in [`OscarModel`].
            region_features: as in [`OscarModel`].
            region_attention_mask: as in [`OscarModel`].
            position_ids: as in [`OscarModel`].
            labels: (batch, words) correct token ids, -100 for words that the loss ignores.
            kwargs: `output_hidden_states`, `output_attentions`, `return_dict`, as in every transformers model.

        Returns:
            `logits` (batch, words, vocab_size) and, with labels, `loss`, the mean cross-entropy over labelled words.

        Raises:
            ValueError: if the region features have another shape.
        """
        outputs = self.bert(
            input_ids,
            attention_mask,
            token_type_ids,
            region_features,
            region_attention_mask,
            position_ids,
            **kwargs,
        )
        logits = self.cls(outputs.last_hidden_state[:, : input_ids.shape[1]])
        loss = None
        if labels is not None:
            loss = F.cross_entropy(at_least_float32(logits).flatten(0, 1), labels.flatten())
        return MaskedLMOutput(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )
