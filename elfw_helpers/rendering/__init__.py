"""Faces made from scratch, with exact masks: no photo of anyone went into them.

A face is a scene of signed distance functions (`head`, `garments`, `hand`, put together in `scene`), looked
at by a sphere tracer (`camera`, `surface`), painted (`skin`, `materials`, `textures`), lit (`lighting`) and
photographed (`photo`) before a `background`; `eyewear` is put on last. Which thing a pixel's ray meets *is*
the mask. What decides a face has names (`parameters`), is drawn from a seed (`drawing`, `sampling`), and can
be changed by name (`changes`). `plan` says who is in a set, `folder` writes it. Read `face` first.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "face": ["RenderedFace", "render_face"],
        "folder": ["render_folder"],
    },
)
