"""What can be trained, evaluated, predicted, reported and shown: one folder for each task."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.tasks.image_classification.features import compute_image_features as compute_image_features
    from hf_prompt_models.tasks.image_classification.features import compute_view_features as compute_view_features
    from hf_prompt_models.tasks.video_classification.features import compute_frame_features as compute_frame_features
    from hf_prompt_models.tasks.visual_grounding.evaluation import ground_expressions as ground_expressions


_MODULES = {
    "compute_frame_features": "hf_prompt_models.tasks.video_classification.features",
    "compute_image_features": "hf_prompt_models.tasks.image_classification.features",
    "compute_view_features": "hf_prompt_models.tasks.image_classification.features",
    "ground_expressions": "hf_prompt_models.tasks.visual_grounding.evaluation",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
