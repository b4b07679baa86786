"""Every figure of the course, each one function that returns a matplotlib Figure."""

from elfw_helpers.plots.augmentation import draw_gains, draw_geometry, draw_ratio_study
from elfw_helpers.plots.diagrams import draw_residual_block
from elfw_helpers.plots.evaluation import (
    draw_calibration,
    draw_confusion,
    draw_grad_cam,
    draw_intervals,
    draw_mistakes,
    draw_paired_answers,
)
from elfw_helpers.plots.faces import (
    draw_channel_histograms,
    draw_class_counts,
    draw_mask_resizing,
    show_faces,
)
from elfw_helpers.plots.segmentation import draw_class_iou, draw_overlays, draw_unet
from elfw_helpers.plots.style import save_figure
from elfw_helpers.plots.training import (
    compare_losses,
    draw_grid,
    draw_loss_curves,
    draw_overfit_curves,
    draw_search_cost,
    draw_seed_spread,
)

__all__ = [
    "compare_losses",
    "draw_calibration",
    "draw_channel_histograms",
    "draw_class_counts",
    "draw_class_iou",
    "draw_confusion",
    "draw_gains",
    "draw_geometry",
    "draw_grad_cam",
    "draw_grid",
    "draw_intervals",
    "draw_loss_curves",
    "draw_mask_resizing",
    "draw_mistakes",
    "draw_overfit_curves",
    "draw_overlays",
    "draw_paired_answers",
    "draw_ratio_study",
    "draw_residual_block",
    "draw_search_cost",
    "draw_seed_spread",
    "draw_unet",
    "save_figure",
    "show_faces",
]
