"""Every figure of the course, each one function that returns a matplotlib Figure."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "diagrams": ["draw_residual_block", "draw_unet"],
        "evaluation": [
            "draw_calibration",
            "draw_class_iou",
            "draw_iou_changes",
            "draw_grad_cam",
            "draw_intervals",
            "draw_latency",
            "draw_mistakes",
            "draw_paired_answers",
            "draw_ratio_study",
        ],
        "faces": [
            "draw_channel_histograms",
            "draw_class_counts",
            "draw_face_geometry",
            "draw_face_in_photo",
            "draw_mask_resizing",
            "draw_overlays",
            "draw_palettes",
            "show_faces",
        ],
        "fairness": ["draw_slices", "draw_versions"],
        "primer": [
            "draw_descents",
            "draw_filter",
            "draw_first_layer",
            "draw_momentum",
            "draw_overlap",
            "draw_pixels",
            "draw_step_losses",
            "draw_surprise",
        ],
        "scaling": [
            "draw_estimate",
            "draw_speed_up",
            "draw_task_stream",
            "draw_worker_seconds",
        ],
        "training": [
            "compare_losses",
            "draw_grid_search",
            "draw_label_curves",
            "draw_learning_speed",
            "draw_loss_curves",
            "draw_overfit_curves",
            "draw_seed_spread",
            "draw_treatments",
        ],
    },
)
