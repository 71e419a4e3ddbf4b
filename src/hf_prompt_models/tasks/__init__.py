"""Tasks, which define what can be trained, evaluated, predicted, reported and shown. Each task has its own folder."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.tasks.base import Run as Run
    from hf_prompt_models.tasks.base import Task as Task
    from hf_prompt_models.tasks.base import task_named as task_named
    from hf_prompt_models.tasks.base import task_of as task_of
    from hf_prompt_models.tasks.image_classification.features import compute_image_features as compute_image_features
    from hf_prompt_models.tasks.image_classification.features import compute_view_features as compute_view_features
    from hf_prompt_models.tasks.run import run_training as run_training
    from hf_prompt_models.tasks.video_classification.features import compute_frame_features as compute_frame_features
    from hf_prompt_models.tasks.visual_grounding.evaluation import ground_expressions as ground_expressions


_MODULES = {
    "Run": "hf_prompt_models.tasks.base",
    "Task": "hf_prompt_models.tasks.base",
    "compute_frame_features": "hf_prompt_models.tasks.video_classification.features",
    "compute_image_features": "hf_prompt_models.tasks.image_classification.features",
    "compute_view_features": "hf_prompt_models.tasks.image_classification.features",
    "ground_expressions": "hf_prompt_models.tasks.visual_grounding.evaluation",
    "run_training": "hf_prompt_models.tasks.run",
    "task_named": "hf_prompt_models.tasks.base",
    "task_of": "hf_prompt_models.tasks.base",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
