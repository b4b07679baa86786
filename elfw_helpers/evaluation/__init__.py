"""Scores with their intervals, for attributes and for masks, and Grad-CAM.

Loaded at once, not on demand as the other packages, because `grad_cam` names both a module and a function.
"""

from elfw_helpers.evaluation.classification import (
    calibration_curve,
    classification_report,
    confusion_matrix,
    mcnemar_test,
    score,
    wilson_interval,
)
from elfw_helpers.evaluation.grad_cam import grad_cam
from elfw_helpers.evaluation.segmentation import (
    SegmentationScores,
    compare_matrices,
    confusion_matrices,
    iou_by_class,
    median_frequency_weights,
    score_masks,
)

__all__ = [
    "SegmentationScores",
    "calibration_curve",
    "classification_report",
    "compare_matrices",
    "confusion_matrices",
    "confusion_matrix",
    "grad_cam",
    "iou_by_class",
    "mcnemar_test",
    "median_frequency_weights",
    "score",
    "score_masks",
    "wilson_interval",
]
