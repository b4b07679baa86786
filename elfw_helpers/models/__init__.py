"""The networks of the course, their pre-trained weights, and trained models by name."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "classification": [
            "MiniNetwork",
            "count_parameters",
            "efficient_classifier",
            "mini_network",
            "resnet18",
        ],
        "efficientnet": ["efficientnet_lite0"],
        "hub": ["load_model"],
        "segmentation": ["EfficientUNet", "UNet", "deeplabv3_resnet101", "fcn_resnet101", "lraspp_mobilenet"],
        "transfer": ["extract_features"],
    },
)
