"""Faces made from scratch, with exact masks: no photo of anyone went into them.

A face is a scene of signed distance functions (`head`, `garments`, `hand`, put together in `scene`), seen by
a sphere tracer (`camera`, `surface`), painted (`head_colours`, `materials`, `textures`), lit (`lighting`) and
photographed (`photo`) before a `background`; `eyewear` is put on last. The thing that a pixel's ray meets
*is* its label in the mask. The `parameters` of a face have names, are drawn from a seed
(`random_parameters`, `random_streams`), and can be set by name (`overrides`); `ingredients`, which are left
out unless asked for, bring them nearer to photos. `plan` decides who is in a set, `folder` writes it,
`manifest` describes it. `cutouts` are objects without a face. Read `face` first.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "face": ["RenderedFace", "render_face", "render_parameters"],
        "folder": ["render_folder"],
        "manifest": ["read_parameters"],
        "overrides": ["change_parameters"],
    },
)
