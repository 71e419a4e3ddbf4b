"""Datasets: image and video folders, 🤗 Datasets, few-shot sampling, augmentation and region proposals."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.data.few_shot import sample_few_shot as sample_few_shot
    from hf_prompt_models.data.grounding.dataset import GroundingCollator as GroundingCollator
    from hf_prompt_models.data.grounding.dataset import GroundingDataset as GroundingDataset
    from hf_prompt_models.data.grounding.referring_expressions import ReferringExpressions as ReferringExpressions
    from hf_prompt_models.data.grounding.referring_expressions import (
        read_referring_expressions as read_referring_expressions,
    )
    from hf_prompt_models.data.grounding.region_features import DetectedRegion as DetectedRegion
    from hf_prompt_models.data.grounding.region_features import GroundingPrompt as GroundingPrompt
    from hf_prompt_models.data.grounding.region_features import RegionFeatureFile as RegionFeatureFile
    from hf_prompt_models.data.grounding.region_features import RelationPrompt as RelationPrompt
    from hf_prompt_models.data.grounding.region_features import encode_region as encode_region
    from hf_prompt_models.data.grounding.region_features import write_region_features as write_region_features
    from hf_prompt_models.data.grounding.relations import PictureRelations as PictureRelations
    from hf_prompt_models.data.grounding.relations import RelationVocabulary as RelationVocabulary
    from hf_prompt_models.data.grounding.relations import draw_relations as draw_relations
    from hf_prompt_models.data.grounding.relations import read_relation_vocabulary as read_relation_vocabulary
    from hf_prompt_models.data.grounding.relations import read_relations as read_relations
    from hf_prompt_models.data.images.dataset import AugmentedImageDataset as AugmentedImageDataset
    from hf_prompt_models.data.images.dataset import AugmentedViewDataset as AugmentedViewDataset
    from hf_prompt_models.data.images.dataset import ImageDataset as ImageDataset
    from hf_prompt_models.data.images.labelled import LabelledImages as LabelledImages
    from hf_prompt_models.data.images.labelled import read_labelled_images as read_labelled_images
    from hf_prompt_models.data.streaming import ImageCollator as ImageCollator
    from hf_prompt_models.data.streaming import undecoded as undecoded
    from hf_prompt_models.data.text.products import read_products as read_products
    from hf_prompt_models.data.videos.dataset import AugmentedVideoDataset as AugmentedVideoDataset
    from hf_prompt_models.data.videos.dataset import VideoDataset as VideoDataset
    from hf_prompt_models.data.videos.labelled import LabelledVideos as LabelledVideos
    from hf_prompt_models.data.videos.labelled import read_labelled_videos as read_labelled_videos
    from hf_prompt_models.data.videos.loading import load_video as load_video
    from hf_prompt_models.data.videos.writing import write_video as write_video


_MODULES = {
    "AugmentedImageDataset": "hf_prompt_models.data.images.dataset",
    "AugmentedVideoDataset": "hf_prompt_models.data.videos.dataset",
    "AugmentedViewDataset": "hf_prompt_models.data.images.dataset",
    "DetectedRegion": "hf_prompt_models.data.grounding.region_features",
    "GroundingCollator": "hf_prompt_models.data.grounding.dataset",
    "GroundingDataset": "hf_prompt_models.data.grounding.dataset",
    "GroundingPrompt": "hf_prompt_models.data.grounding.region_features",
    "ImageCollator": "hf_prompt_models.data.streaming",
    "ImageDataset": "hf_prompt_models.data.images.dataset",
    "LabelledImages": "hf_prompt_models.data.images.labelled",
    "LabelledVideos": "hf_prompt_models.data.videos.labelled",
    "PictureRelations": "hf_prompt_models.data.grounding.relations",
    "ReferringExpressions": "hf_prompt_models.data.grounding.referring_expressions",
    "RegionFeatureFile": "hf_prompt_models.data.grounding.region_features",
    "RelationPrompt": "hf_prompt_models.data.grounding.region_features",
    "RelationVocabulary": "hf_prompt_models.data.grounding.relations",
    "VideoDataset": "hf_prompt_models.data.videos.dataset",
    "draw_relations": "hf_prompt_models.data.grounding.relations",
    "encode_region": "hf_prompt_models.data.grounding.region_features",
    "load_video": "hf_prompt_models.data.videos.loading",
    "read_labelled_images": "hf_prompt_models.data.images.labelled",
    "read_labelled_videos": "hf_prompt_models.data.videos.labelled",
    "read_products": "hf_prompt_models.data.text.products",
    "read_referring_expressions": "hf_prompt_models.data.grounding.referring_expressions",
    "read_relation_vocabulary": "hf_prompt_models.data.grounding.relations",
    "read_relations": "hf_prompt_models.data.grounding.relations",
    "sample_few_shot": "hf_prompt_models.data.few_shot",
    "undecoded": "hf_prompt_models.data.streaming",
    "write_region_features": "hf_prompt_models.data.grounding.region_features",
    "write_video": "hf_prompt_models.data.videos.writing",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
