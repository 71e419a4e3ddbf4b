"""Configuration of Oscar, a BERT over words and detected regions."""

from huggingface_hub.dataclasses import strict
from transformers import BertConfig


@strict
class OscarConfig(BertConfig):
    """Configuration of Oscar: BERT's configuration, and how regions enter the model.

    region_feature_size (`int`, *optional*, defaults to 2054):
        Number of features of a region. For VinVL's detector, these are 2,048 pooled features and 6 of the box: x1/W,
        y1/H, x2/W, y2/H, (x2 - x1)/W, (y2 - y1)/H.
    use_region_layer_norm (`bool`, *optional*, defaults to `False`):
        Whether projected regions are layer-normalised before they are appended to the words (Oscar's
        `use_img_layernorm`).
    region_layer_norm_eps (`float`, *optional*, defaults to 1e-12):
        Epsilon of that layer norm (`img_layer_norm_eps`).

    Example:
        ```python
        >>> from hf_prompt_models import OscarConfig
        >>> config = OscarConfig(region_feature_size=16)
        >>> config.region_feature_size, config.hidden_size
        (16, 768)

        ```
    """

    model_type = "oscar"

    region_feature_size: int = 2054
    use_region_layer_norm: bool = False
    region_layer_norm_eps: float = 1e-12
