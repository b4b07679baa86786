"""What all packages stand on: errors, paths, files, the device, fingerprints."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "device": ["layout_of"],
        "errors": ["ElfwError", "WeightsError"],
        "paths": ["rendered_weights"],
    },
)
