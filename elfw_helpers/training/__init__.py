"""The training loop, losses, checkpoints, the recipe for segmentation, and the search for settings."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "loop": ["History", "fit", "keep_freed_memory", "predict_logits", "predict_masks"],
        "losses": ["Loss"],
        "search": [
            "REPORT_GRID",
            "best_setting",
            "expand_grid",
            "grid_search",
            "search_settings",
        ],
        "shipped": ["recall_grid_search"],
        "segmentation": [
            "PAPER_RECIPE",
            "QUICK_RECIPE",
            "cosine_schedule",
            "segmentation_batches",
            "train_segmentation",
        ],
    },
)
