"""ALPRO's text and fusion layers: the first and the other layers of one BERT (`xbert.py` of the released code)."""

from typing import Any

import torch
from transformers import BertConfig, BertModel
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.utils.output_capturing import capture_outputs


class AlproTextModel(BertModel):
    """A BERT that reads text with its first layers, and text and video as one sequence with the others."""

    def __init__(self, config: BertConfig, fusion_layer: int):
        super().__init__(config, add_pooling_layer=False)
        self.fusion_layer = fusion_layer

    def encode(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        """Text alone, through the layers before `fusion_layer`.

        Args:
            input_ids: (batch, length).
            attention_mask: (batch, length) 1 for tokens, 0 for padding.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state` (batch, length, width).

        Raises:
            ValueError: if the text is longer than there are positions.
        """
        positions = self.config.max_position_embeddings
        if input_ids.shape[1] > positions:
            raise ValueError(
                f"The text has {input_ids.shape[1]} tokens, the model positions for {positions}: truncate it "
                "(truncation=True, max_length=...)."
            )
        return self._run(0, self.fusion_layer, self.embeddings(input_ids), attention_mask, return_dict=True, **kwargs)

    def fuse(
        self, text: torch.Tensor, attention_mask: torch.Tensor, video: torch.Tensor, **kwargs: Any
    ) -> BaseModelOutput:
        """Text and video through the layers from `fusion_layer` on.

        Args:
            text: (batch, length, width) from `encode`.
            attention_mask: (batch, length) the text's.
            video: (batch, tokens, width) from the video tower.
            kwargs: `output_hidden_states`, `output_attentions`.

        Returns:
            `.last_hidden_state` (batch, length + tokens, width).
        """
        mask = torch.cat([attention_mask, attention_mask.new_ones(video.shape[:2])], dim=1)
        layers = self.config.num_hidden_layers
        hidden = torch.cat([text, video], dim=1)
        return self._run(self.fusion_layer, layers, hidden, mask, return_dict=True, **kwargs)

    @capture_outputs
    def _run(self, start: int, end: int, hidden: torch.Tensor, mask: torch.Tensor, **kwargs: Any) -> BaseModelOutput:
        attention = create_bidirectional_mask(config=self.config, inputs_embeds=hidden, attention_mask=mask)
        for layer in self.encoder.layer[start:end]:
            hidden = layer(hidden, attention, **kwargs)
        return BaseModelOutput(last_hidden_state=hidden)


__all__ = ["AlproTextModel"]
