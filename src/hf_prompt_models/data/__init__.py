"""From files to examples: image folders and `datasets`, few-shot sampling, augmentation."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.data.few_shot import sample_few_shot as sample_few_shot
    from hf_prompt_models.data.grounding.dataset import GroundingCollator as GroundingCollator
    from hf_prompt_models.data.grounding.dataset import GroundingDataset as GroundingDataset
    from hf_prompt_models.data.grounding.referring_expressions import (
        read_referring_expressions as read_referring_expressions,
    )
    from hf_prompt_models.data.grounding.region_features import RegionFeatureFile as RegionFeatureFile
    from hf_prompt_models.data.images.dataset import AugmentedImageDataset as AugmentedImageDataset
    from hf_prompt_models.data.images.dataset import AugmentedViewDataset as AugmentedViewDataset
    from hf_prompt_models.data.images.dataset import ImageDataset as ImageDataset
    from hf_prompt_models.data.images.labelled import read_labelled_images as read_labelled_images
    from hf_prompt_models.data.streaming import ImageCollator as ImageCollator
    from hf_prompt_models.data.streaming import undecoded as undecoded
    from hf_prompt_models.data.text.products import read_products as read_products
    from hf_prompt_models.data.videos.dataset import AugmentedVideoDataset as AugmentedVideoDataset
    from hf_prompt_models.data.videos.dataset import VideoDataset as VideoDataset
    from hf_prompt_models.data.videos.labelled import read_labelled_videos as read_labelled_videos
    from hf_prompt_models.data.videos.loading import load_video as load_video
    from hf_prompt_models.data.videos.writing import write_video as write_video


_MODULES = {
    "AugmentedImageDataset": "hf_prompt_models.data.images.dataset",
    "AugmentedVideoDataset": "hf_prompt_models.data.videos.dataset",
    "AugmentedViewDataset": "hf_prompt_models.data.images.dataset",
    "GroundingCollator": "hf_prompt_models.data.grounding.dataset",
    "GroundingDataset": "hf_prompt_models.data.grounding.dataset",
    "ImageCollator": "hf_prompt_models.data.streaming",
    "ImageDataset": "hf_prompt_models.data.images.dataset",
    "RegionFeatureFile": "hf_prompt_models.data.grounding.region_features",
    "VideoDataset": "hf_prompt_models.data.videos.dataset",
    "load_video": "hf_prompt_models.data.videos.loading",
    "read_labelled_images": "hf_prompt_models.data.images.labelled",
    "read_labelled_videos": "hf_prompt_models.data.videos.labelled",
    "read_products": "hf_prompt_models.data.text.products",
    "read_referring_expressions": "hf_prompt_models.data.grounding.referring_expressions",
    "sample_few_shot": "hf_prompt_models.data.few_shot",
    "undecoded": "hf_prompt_models.data.streaming",
    "write_video": "hf_prompt_models.data.videos.writing",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
