"""Figures of class augmentation: where a face's eyes are found, and what added objects change in the IoU."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

from elfw_helpers.augmentation.face_geometry import FaceGeometry
from elfw_helpers.plots.faces import blend_mask
from elfw_helpers.plots.style import COLOURS, message_if_empty, show_pictures

# How far beyond the eyes the line through them is drawn, and how far down the nose, in eye distances.
REACH, NOSE = 1.0, 1.1
PANELS_PER_ROW = 3
BESIDE = 0.03  # ratio from one seed's dots to the next one's


@message_if_empty("no face to show")
def draw_geometry(faces: Sequence[tuple[Image.Image, np.ndarray]], found: Sequence[FaceGeometry]) -> Figure:
    """Draw where the labels say that eyes and nose are, on the masks above and on the faces below.

    Args:
        faces: image and mask, uint8 [H, W], of each.
        found: as `locate_face` returns it for each mask.
    """
    figure, panels = plt.subplots(2, len(faces), figsize=(1.7 * len(faces), 3.6), squeeze=False)
    white = [blend_mask(np.full((*mask.shape, 3), 255, np.uint8), mask) for _, mask in faces]
    show_pictures(panels, [*white, *(image for image, _ in faces)])
    for column, face in zip(panels.T, found, strict=True):
        across = face.eye_distance * np.array([np.cos(face.roll), np.sin(face.roll)])
        down = face.eye_distance * np.array([-np.sin(face.roll), np.cos(face.roll)])
        middle = np.array([face.x, face.y])
        for axes in column:
            axes.autoscale(False)
            for end in (middle + REACH * across, middle - REACH * across, middle + NOSE * down):
                axes.plot(*zip(middle, end, strict=True), color="black", linewidth=2.6)
                axes.plot(*zip(middle, end, strict=True), color="white", linewidth=1.2)
            eyes = np.stack([middle - across / 2, middle + across / 2])
            axes.scatter(*eyes.T, color="white", edgecolor="black", s=36, zorder=3)
    figure.tight_layout(pad=0.3)
    return figure


@message_if_empty("no class to compare")
def draw_gains(gains: Mapping[str, tuple[float, float, float]], title: str) -> Figure:
    """Draw by how much each class's IoU changed, with its interval; the line is no change.

    Args:
        gains: difference and the ends of its interval, by class.
        title: names what is compared on which data.
    """
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(gains) + 1.2), layout="constrained")
    for place, (gain, low, high) in enumerate(gains.values()):
        apart = low > 0 or high < 0
        colour = COLOURS[0] if apart else "0.6"
        axes.plot((low, high), (place, place), color=colour, linewidth=2)
        axes.scatter(gain, place, color=colour, s=45, zorder=3)
        # Outside its bar, on the side away from 0, where the line of no change cannot cross it.
        end, step, side = (high, 6, "left") if gain >= 0 else (low, -6, "right")
        text = f"{gain:+.3f}".replace("-", "\N{MINUS SIGN}")
        axes.annotate(text, (end, place), (step, 0), textcoords="offset points", ha=side, va="center")
    axes.axvline(0, color="0.2", linewidth=1, zorder=1)
    axes.set_yticks(range(len(gains)), list(gains))
    axes.invert_yaxis()
    axes.set(title=title, xlabel="change of IoU, 95 % interval (grey: 0 is inside)")
    axes.margins(x=0.15, y=0.12)
    axes.grid(False, axis="y")
    sns.despine(figure)
    return figure


@message_if_empty("nothing was measured")
def draw_ratio_study(table: pd.DataFrame, classes: Sequence[str], title: str) -> Figure:
    """Draw the IoU of some classes by the ratio of augmented faces: a dot per seed, a line through the means.

    All panels have one scale; the dots of the seeds stand side by side, so that equal ones do not hide.

    Args:
        table: one row per run, with columns ratio, seed (0, 1, ...), and one per class.
        classes: columns to draw, one panel each.
        title: names the data.
    """
    rows = -(-len(classes) // PANELS_PER_ROW)
    shape = {"figsize": (9.5, 2.8 * rows), "layout": "constrained"}
    figure, panels = plt.subplots(rows, PANELS_PER_ROW, sharex=True, sharey=True, squeeze=False, **shape)
    means = table.groupby("ratio").mean()
    places = table["ratio"] + BESIDE * (table["seed"] - table["seed"].mean())
    for axes in panels.flat[len(classes) :]:
        axes.set_axis_off()
    for axes, name in zip(panels.flat, classes, strict=False):
        axes.plot(means.index, means[name], color=COLOURS[0], linewidth=2)
        axes.scatter(places, table[name], color=COLOURS[0], s=28, zorder=3)
        axes.set_xticks(means.index, [f"{ratio:g}" for ratio in means.index])
        axes.set_title(name)
    for axes in panels[-1]:
        axes.set_xlabel("copies per face")
    for axes in panels[:, 0]:
        axes.set_ylabel("IoU, test split")
    figure.suptitle(title, fontweight="bold")
    sns.despine(figure)
    return figure
