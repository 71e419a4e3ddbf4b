"""Plain functions on arrays and texts, and `evaluate.Metric` wrappers of them."""

from typing import TYPE_CHECKING

from hf_prompt_models.utils.lazy import lazy_names


if TYPE_CHECKING:
    from hf_prompt_models.metrics.classification import accuracy_at_coverage as accuracy_at_coverage
    from hf_prompt_models.metrics.classification import expected_calibration_error as expected_calibration_error
    from hf_prompt_models.metrics.classification import reliability_bins as reliability_bins
    from hf_prompt_models.metrics.classification import selective_accuracy as selective_accuracy
    from hf_prompt_models.metrics.evaluate_metrics import load_metric as load_metric
    from hf_prompt_models.metrics.grounding import is_right_region as is_right_region
    from hf_prompt_models.metrics.relations import rank_relations as rank_relations


_MODULES = {
    "accuracy_at_coverage": "hf_prompt_models.metrics.classification",
    "expected_calibration_error": "hf_prompt_models.metrics.classification",
    "reliability_bins": "hf_prompt_models.metrics.classification",
    "selective_accuracy": "hf_prompt_models.metrics.classification",
    "is_right_region": "hf_prompt_models.metrics.grounding",
    "load_metric": "hf_prompt_models.metrics.evaluate_metrics",
    "rank_relations": "hf_prompt_models.metrics.relations",
}

__all__ = list(_MODULES)
__getattr__, __dir__ = lazy_names(__name__, _MODULES)
