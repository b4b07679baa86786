"""Faces with masks, written as labelme, CVAT and COCO export them."""

from __future__ import annotations

import base64
import io
import json
from itertools import groupby
from pathlib import Path
from xml.sax.saxutils import quoteattr

import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from scipy.ndimage import label as label_parts

from elfw_helpers.data.labels import PIXEL_CLASSES

Outline = tuple[str, np.ndarray]


def trace_mask(mask: np.ndarray) -> list[Outline]:
    """Return class name and outline, float64 [N, 2], of each connected part of a mask, the outer ones first.

    The outlines run between the centres of pixels, so drawn in this order they give the mask again.
    """
    outlines, axes = [], Figure().subplots()
    for number, name in enumerate(PIXEL_CLASSES):
        parts, count = label_parts(mask == number)
        for part in range(1, count + 1):
            path = axes.contour(np.pad(parts == part, 1), [0.5]).get_paths()[0]
            lines = np.split(path.vertices, np.flatnonzero(path.codes == path.MOVETO)[1:])
            # Back from the frame of one pixel, and from the centres of pixels to their corners.
            outline = max(lines, key=lambda line: abs(measure_area(line)))[:-1] - 0.5
            outlines.append((name, outline))
    return sorted(outlines, key=lambda outline: -abs(measure_area(outline[1])))


def measure_area(points: np.ndarray) -> float:
    """Return the area inside an outline, float64 [N, 2], signed by its sense (shoelace formula)."""
    x, y = points.T
    return float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2


def encode_png(pixels: np.ndarray) -> str:
    """Return a boolean mask as PNG in Base64, as labelme stores it."""
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def encode_runs(pixels: np.ndarray) -> list[int]:
    """Return the run lengths of boolean pixels, beginning with those outside."""
    runs = [(value, len(list(run))) for value, run in groupby(pixels.ravel().tolist())]
    return ([0] if runs[0][0] else []) + [count for _, count in runs]


def write_labelme(file: Path, image_path: str, size: tuple[int, int], shapes: list[dict], **more) -> None:
    """Write one file as labelme 5.5 does."""
    plain = {"group_id": None, "description": "", "shape_type": "polygon", "flags": {}, "mask": None}
    content = {
        "version": "5.5.0",
        "flags": {},
        "shapes": [plain | shape for shape in shapes],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": size[1],
        "imageWidth": size[0],
    }
    file.write_text(json.dumps(content | more, ensure_ascii=False, indent=2), encoding="utf-8")


def write_cvat(file: Path, images: list[str]) -> None:
    """Write annotations.xml of CVAT 2 with these <image> elements."""
    meta = "<meta><task><id>4</id><name>faces</name><mode>annotation</mode><labels></labels></task></meta>"
    text = '<?xml version="1.0" encoding="utf-8"?>\n<annotations>\n  <version>1.1</version>\n'
    text += f"  {meta}\n{''.join(images)}</annotations>\n"
    file.write_text(text, encoding="utf-8")


def cvat_image(name: str, size: tuple[int, int], *elements: str) -> str:
    """Return an <image> of CVAT with these elements."""
    head = f'  <image id="0" name={quoteattr(name)} width="{size[0]}" height="{size[1]}">\n'
    return head + "".join(f"    {element}\n" for element in elements) + "  </image>\n"


def cvat_polygon(label: str, points: np.ndarray, z_order: int = 0) -> str:
    """Return a <polygon> of CVAT, which writes two digits behind the point."""
    places = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
    head = f'<polygon label={quoteattr(label)} source="manual" occluded="0"'
    return f'{head} points="{places}" z_order="{z_order}">\n    </polygon>'


def write_coco(file: Path, images: list[dict], annotations: list[dict], categories=PIXEL_CLASSES) -> None:
    """Write instances in COCO's format."""
    content = {
        "info": {"description": "faces"},
        "licenses": [],
        "categories": [{"id": n, "name": name, "supercategory": ""} for n, name in enumerate(categories, 1)],
        "images": images,
        "annotations": [
            {"id": n, "iscrowd": 0, "bbox": [0, 0, 1, 1], "area": 1} | annotation
            for n, annotation in enumerate(annotations, 1)
        ],
    }
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content), encoding="utf-8")
