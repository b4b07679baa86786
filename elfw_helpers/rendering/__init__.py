"""Faces made from scratch, with exact masks: no photo of anyone went into them.

A face is a scene of signed distance functions (`head`, `garments`, `scene`), looked at by a sphere
tracer (`camera`), painted (`skin`, `materials`), lit (`lighting`) and photographed (`photo`). Which
thing a pixel's ray meets *is* the mask. What the numbers are is decided in `parameters` and `drawing`.
"""

from elfw_helpers.rendering.contact import contact_sheet
from elfw_helpers.rendering.face import RenderedFace, render_face
from elfw_helpers.rendering.folder import render_folder

__all__ = ["RenderedFace", "contact_sheet", "render_face", "render_folder"]
