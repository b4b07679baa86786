"""Measure whether faces are found in a photo of any size, how often one is where there is none, and the time.

Found means: the frame that `find_faces` returns and the true one share an IoU of .6, tilt and all. Truth is
known because each picture is put together: faces of 250 px photos and rendered ones, half and half, one to
three in a picture of 720 px, each .12 to 1 of its shorter side, anywhere, tilted by up to 20 degrees, on
backgrounds without a face. Photos stay in memory. Pictures without a face: backgrounds of the renderer and of
photos, landscapes, textures, writing, samples that come with scikit-learn.

Truth has two meanings. "As pasted": the square that was pasted; a quarter of the rendered faces is cut looser
or tighter than ELFW's, which nobody can see in the picture. "As ELFW's": the square that ELFW's rule (that of
CelebA-HQ) gives around eyes and mouth; of photos it is the pasted one.

The score from which a detection counts, and the frame around a detection, were chosen on `--tune`: other
photos (every second one), other rendered faces, other pictures. Beside the detector stands the shipped
segmentation network on a pyramid of sizes, tuned likewise. Then: how many pictures that are cut out as ELFW's
already get another answer than without cropping.

    python benchmarks/face_finding.py --real FOLDER [--tune] [--store]
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from measure import Figure, measure_in_turns, report
from PIL import Image, ImageDraw, ImageFilter
from scipy import ndimage
from sklearn.datasets import load_sample_images

from elfw_helpers.data.datasets import FaceFolder
from elfw_helpers.data.labels import BACKGROUND, SKIN
from elfw_helpers.deployment.faces import Frame, find_faces, overlap, whole_frame
from elfw_helpers.deployment.predict import collect_remarks, lay_masks, predict_faces, run_network
from elfw_helpers.evaluation.classification import wilson_interval
from elfw_helpers.models.hub import TrainedModel, load_model
from elfw_helpers.rendering.background import make_background
from elfw_helpers.rendering.face import render_face
from elfw_helpers.rendering.parameters import Pose
from elfw_helpers.rendering.photo import develop
from elfw_helpers.rendering.random_parameters import sample_parameters
from elfw_helpers.utils.paths import embedded_faces

LONG, COUNT, LEAST_IOU = 720, 300, 0.6
IN_USE = "YuNet"
SHARES, MOST_TILT = (0.12, 1.0), 20.0
# Of the pictures that are reported, and of those that thresholds were chosen on.
SEEDS = {False: 1911, True: 17}
# Rendered faces are of 256 px, from seeds that no set of the course has.
FIRST_FACE = {False: 9_100_000, True: 8_000_000}
FEATHER = 0.04
# The segmentation network on a pyramid: longer sides of the photo; what makes a patch of skin a face: its
# side in pixels, and how much of its box is skin, times how certain that is; the side of its frame.
PYRAMID, PATCH_SIDES, LEAST_FILL, SIDE_PER_PATCH = (96, 160, 288, 512), (36, 80), 0.6, 1.6

Finder = Callable[[Image.Image], list[Frame]]


class Scene(NamedTuple):
    """A picture, RGB, and the frames of the faces in it: as they were pasted, and as ELFW would cut them."""

    picture: Image.Image
    pasted: list[Frame]
    framed: list[Frame]
    real: bool


def make_scenes(real: FaceFolder, tune: bool) -> Iterator[Scene]:
    """Yield COUNT pictures with one to three faces each, of photos and of rendered faces in turns."""
    for number in range(COUNT):
        chance = np.random.default_rng((SEEDS[tune], number))
        is_real = number % 2 == 0
        picture = draw_background(chance, *chance.permutation((LONG, int(chance.choice((LONG, 540, 405))))))
        pasted, framed = [], []
        for part in range(int(chance.integers(1, 4))):
            if frame := draw_place(chance, picture, pasted):
                face, pose = draw_face(chance, real, is_real, tune, 3 * number + part)
                pasted.append(frame)
                framed.append(frame_as_elfw(frame, pose) if pose else frame)
                paste(picture, face, frame)
        yield Scene(picture, pasted, framed, is_real)


def draw_place(chance: np.random.Generator, picture: Image.Image, taken: list[Frame]) -> Frame | None:
    """Return a random frame, in the picture but for its tilt, clear of others; None if no room is found."""
    for _ in range(50):
        side = min(picture.size) * np.exp(chance.uniform(*np.log(SHARES)))
        x, y = (chance.uniform(side / 2, length - side / 2) for length in picture.size)
        clear = all(max(abs(x - one.x), abs(y - one.y)) > (side + one.side) / 2 * 1.15 for one in taken)
        if clear:
            return Frame(x, y, side, chance.uniform(-MOST_TILT, MOST_TILT))
    return None


def draw_face(
    chance: np.random.Generator, real: FaceFolder, is_real: bool, tune: bool, number: int
) -> tuple[Image.Image, Pose | None]:
    """Return a face: of a photo (every second one is for tuning), or a rendered one and its pose."""
    if is_real:
        return real.read(2 * int(chance.integers(len(real) // 2)) + tune)[0], None
    face = render_face(FIRST_FACE[tune] + number, 256)
    return Image.fromarray(face.image), face.parameters.pose


def frame_as_elfw(frame: Frame, pose: Pose) -> Frame:
    """Return ELFW's frame of a rendered face that was pasted into a frame: its zoom, shift, roll undone."""
    shift = -frame.side / 2 * frame.axes() @ (pose.shift_x, pose.shift_y)
    # The camera's y points up.
    tilt = frame.tilt - np.degrees(pose.roll)
    return Frame(frame.x + shift[0], frame.y + shift[1], frame.side / pose.zoom, float(tilt))


def paste(picture: Image.Image, face: Image.Image, frame: Frame) -> None:
    """Paste a face into a picture where a frame lies, its edges blended in."""
    side = round(frame.side)
    small, margin = face.resize((side, side), Image.Resampling.LANCZOS), max(1, round(FEATHER * side))
    cover = Image.new("L", (side, side))
    cover.paste(255, (margin, margin, side - margin, side - margin))
    cover = cover.filter(ImageFilter.BoxBlur(margin // 2 + 1))
    # PIL turns against the clock.
    turned, cover = (one.rotate(-frame.tilt, Image.Resampling.BICUBIC, expand=True) for one in (small, cover))
    corner = (round(frame.x - turned.width / 2), round(frame.y - turned.height / 2))
    picture.paste(turned, corner, cover)


def make_faceless(real: FaceFolder, tune: bool) -> Iterator[Image.Image]:
    """Yield COUNT pictures without a face, of six kinds in turns."""
    kinds = (
        draw_rendered,
        draw_landscape,
        draw_texture,
        draw_writing,
        partial(cut_corner, real, tune),
        cut_sample,
    )
    for number in range(COUNT):
        chance = np.random.default_rng((SEEDS[tune], COUNT + number))
        yield kinds[number % len(kinds)](chance, LONG, int(chance.choice((LONG, 540, 405))))


def draw_background(chance: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return a background for faces: rendered, a landscape or a texture."""
    return chance.choice((draw_rendered, draw_rendered, draw_landscape, draw_texture))(chance, width, height)


def draw_rendered(chance: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return a background of the renderer."""
    seed, size = int(chance.integers(10**9)), 720
    light = make_background(sample_parameters(seed, seed).background, size)
    pixels = (255 * develop(light).clip(0, 1)).astype(np.uint8).reshape(3, size, size).transpose(1, 2, 0)
    return Image.fromarray(pixels).crop((0, 0, width, height))


def draw_noise(chance: np.random.Generator, width: int, height: int, steepness: float) -> np.ndarray:
    """Return noise whose spectrum falls with frequency to a power, float [height, width], 0 to 1."""
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]) + 1 / max(
        width, height
    )
    spectrum = np.fft.rfft2(chance.normal(size=(height, width))) / frequency**steepness
    noise = np.fft.irfft2(spectrum, (height, width))
    return (noise - noise.min()) / np.ptp(noise)


def colour(amount: np.ndarray, first: Sequence[float], second: Sequence[float]) -> np.ndarray:
    """Return colours between two, 0 to 255, by an amount, float [H, W]."""
    return np.asarray(first) + (np.subtract(second, first)) * amount[..., None]


def draw_landscape(chance: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return a sky with clouds over some ranges of hills."""
    sky = colour(np.linspace(0, 1, height)[:, None] * np.ones(width), (90, 140, 220), (220, 230, 245))
    clouds = draw_noise(chance, width, height, 1.6)[..., None].clip(0.5, 0.8) - 0.5
    pixels = sky + 3 * clouds * (255 - sky)
    for step in range(int(chance.integers(1, 5))):
        ridge = height * (0.45 + 0.13 * step + 0.25 * (draw_noise(chance, width, 3, 1.5)[0] - 0.5))
        where = np.arange(height)[:, None] > ridge
        shade = colour(draw_noise(chance, width, height, 1.0), *chance.uniform(20, 190, (2, 3)))
        pixels[where] = shade[where]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def draw_texture(chance: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return a gradient, coloured noise, stripes, checks or discs."""
    down, right = np.mgrid[:height, :width] / height
    kind, turn = int(chance.integers(5)), chance.uniform(0, np.pi)
    along, across = np.cos(turn) * right + np.sin(turn) * down, np.cos(turn) * down - np.sin(turn) * right
    waves = chance.uniform(3, 25)
    amount = (
        along,
        draw_noise(chance, width, height, chance.uniform(0.3, 2)),
        along * waves % 1 < 0.5,
        (along * waves % 1 < 0.5) ^ (across * waves % 1 < 0.5),
        np.hypot(along * waves % 1 - 0.5, across * waves % 1 - 0.5) < chance.uniform(0.1, 0.45),
    )[kind]
    pixels = colour(np.asarray(amount, float), *chance.uniform(0, 255, (2, 3)))
    return Image.fromarray((pixels + chance.normal(0, 6, pixels.shape)).clip(0, 255).astype(np.uint8))


def draw_writing(chance: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return lines of letters and signs."""
    paper, ink = chance.uniform(180, 255, 3), chance.uniform(0, 90, 3)
    picture = Image.new("RGB", (width, height), tuple(map(int, paper)))
    size, letters = int(chance.integers(12, 70)), "aeionrstlm bdcuO0@8%&()oQ.,:;  "
    for top in range(10, height, round(size * 1.4)):
        line = "".join(chance.choice(list(letters), 90))
        ImageDraw.Draw(picture).text((10, top), line, tuple(map(int, ink)), font_size=size)
    return picture


def cut_corner(
    real: FaceFolder, tune: bool, chance: np.random.Generator, width: int, height: int
) -> Image.Image:
    """Return an upper corner of a photo that is background by its mask, enlarged."""
    side, right = int(chance.integers(50, 90)), bool(chance.integers(2))
    for index in chance.permutation(len(real) // 2):
        photo, mask = real.read(2 * int(index) + tune)
        left = photo.width - side if right else 0
        if (mask[:side, left : left + side] == BACKGROUND).all():
            return photo.crop((left, 0, left + side, side)).resize((height, height), Image.Resampling.BICUBIC)
    raise RuntimeError("no photo of the folder has a corner of background")


def cut_sample(chance: np.random.Generator, width: int, height: int) -> Image.Image:
    """Return a part of one of scikit-learn's two sample photos, a temple and a flower, enlarged."""
    photo = Image.fromarray(load_sample_images().images[int(chance.integers(2))])
    side = int(chance.integers(150, 427))
    left, top = (int(chance.integers(length - side + 1)) for length in photo.size)
    return photo.crop((left, top, left + side, top + side)).resize((height, height), Image.Resampling.BICUBIC)


def iou(first: Frame, second: Frame, picture: Image.Image) -> float:
    """Return the IoU of two frames, tilt and all, counted in pixels, outside of the picture too."""
    masks = []
    for frame in (first, second):
        canvas = Image.new("1", (2 * picture.width, 2 * picture.height))
        corners = frame.corners() + (picture.width / 2, picture.height / 2)
        ImageDraw.Draw(canvas).polygon(list(map(tuple, corners)), fill=1)
        masks.append(np.asarray(canvas))
    return (masks[0] & masks[1]).sum() / (masks[0] | masks[1]).sum()


def count_found(finder: Finder, scenes: Sequence[Scene]) -> dict[str, tuple[int, int]]:
    """Return how many faces of how many are found: of photos, of rendered faces, of all; and false finds."""
    counts: Counter[str] = Counter()
    totals: Counter[str] = Counter()
    for scene in scenes:
        frames, kind = finder(scene.picture), "photos" if scene.real else "rendered faces"
        for truth, true_frames in (("pasted", scene.pasted), ("ELFW's", scene.framed)):
            ious = np.array([[iou(one, true, scene.picture) for one in frames] for true in true_frames])
            ious = ious.reshape(len(true_frames), len(frames))
            for name in (kind, "all"):
                counts[f"faces found, {name}, as {truth}"] += int((ious >= LEAST_IOU).any(1).sum())
                totals[f"faces found, {name}, as {truth}"] += len(true_frames)
        # By the last truth, ELFW's.
        counts["superfluous"] += int((ious < LEAST_IOU).all(0).sum())
        totals["superfluous"] += len(frames)
    return {name: (counts[name], totals[name]) for name in totals}


def find_by_segmentation(model: TrainedModel, picture: Image.Image) -> list[Frame]:
    """Return the frames that the segmentation network alone gives: round patches of skin of the right size.

    The network sees the picture at several sizes. Where a face is as large as those that it learned from, a
    patch of skin in it is about half as wide as the network's input.
    """
    found: list[tuple[float, Frame]] = []
    for side in PYRAMID:
        scale = side / max(picture.size)
        small = picture.resize([max(32, round(length * scale / 32) * 32) for length in picture.size])
        skin = run_network(model, np.array(small))[0].softmax(0)[SKIN].numpy()
        labels, _ = ndimage.label(skin > 0.5)
        for index, (rows, columns) in enumerate(ndimage.find_objects(labels), 1):
            high, wide = rows.stop - rows.start, columns.stop - columns.start
            patch = (labels[rows, columns] == index).mean() * skin[labels == index].mean()
            fits = PATCH_SIDES[0] <= np.sqrt(high * wide) <= PATCH_SIDES[1] and 0.7 < high / wide < 2.2
            if fits and patch > LEAST_FILL:
                middle = (columns.start + wide / 2) / scale, (rows.start + high / 2) / scale
                found.append((patch, Frame(*middle, SIDE_PER_PATCH * np.sqrt(high * wide) / scale)))
    frames: list[Frame] = []
    for _, frame in sorted(found, key=lambda one: -one[0]):
        if all(overlap(frame, other) < 0.2 for other in frames):
            frames.append(frame)
    return frames


def measure_finder(
    name: str, finder: Finder, scenes: list[Scene], faceless: list[Image.Image]
) -> list[Figure]:
    """Return the figures of one finder: faces found and false finds, with 95 % intervals in the notes."""
    figures = []
    counts = count_found(finder, scenes)
    counts["pictures without a face, a face found"] = sum(map(bool, map(finder, faceless))), len(faceless)
    for what, (count, total) in counts.items():
        low, high = wilson_interval(count, max(1, total))
        note = f"{count} of {total}, 95 % interval {low:.3f} to {high:.3f}"
        headline = name == IN_USE and what.startswith(("faces found, all", "pictures"))
        figures.append(Figure(f"{name}: {what}", [count / max(1, total)], "", note, headline))
    times = measure_in_turns({name: partial(time_finder, finder, [scene.picture for scene in scenes[:20]])})
    per_photo = f"{name}: time per photo of {LONG} px"
    figures.append(Figure(per_photo, times[name], "ms", headline=name == IN_USE))
    return figures


def time_finder(finder: Finder, pictures: list[Image.Image]) -> float:
    """Return the milliseconds per picture."""
    start = time.perf_counter()
    for picture in pictures:
        finder(picture)
    return 1000 * (time.perf_counter() - start) / len(pictures)


def compare_cut_out(model: TrainedModel, folder: FaceFolder, name: str) -> list[Figure]:
    """Return what cropping changes on faces that are cut out already."""
    missed, changed, pixels = 0, 0, []
    for index in range(len(folder)):
        image = folder.read(index)[0]
        frames = find_faces(image)
        missed += not frames
        if not frames or frames[0] == whole_frame(*image.size):
            pixels.append(0.0)
            continue
        with collect_remarks():
            plain, cropped = (
                predict_faces(model, image, [one]) for one in (whole_frame(*image.size), frames[0])
            )
        changed += plain[0].attribute != cropped[0].attribute
        pixels.append((plain[0].mask != lay_masks(cropped, *image.size)).mean())
    note = f"of {len(folder)} {name}"
    return [
        Figure(f"{name}: no face found", [missed], "", note),
        Figure(f"{name}: another attribute than without cropping", [changed], "", note),
        Figure(f"{name}: pixels of another class than without cropping", [float(np.mean(pixels))], "", note),
    ]


def main() -> None:
    """Measure both finders, print, and store on request."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--real", type=Path, required=True, help="photos with masks, in ELFW's layout")
    parser.add_argument("--tune", action="store_true", help="on the pictures that thresholds were chosen on")
    parser.add_argument("--store", action="store_true", help="write benchmarks/results/face_finding.json")
    options = parser.parse_args()
    real, model = FaceFolder(options.real), load_model("efficient_unet")
    scenes, faceless = list(make_scenes(real, options.tune)), list(make_faceless(real, options.tune))
    figures = measure_finder(IN_USE, find_faces, scenes, faceless)
    figures += measure_finder("U-Net", partial(find_by_segmentation, model), scenes, faceless)
    if not options.tune:
        embedded = FaceFolder(embedded_faces())
        figures += compare_cut_out(model, embedded, "embedded faces")
        figures += compare_cut_out(model, real, "photos")
    report(
        "face_finding", figures, store=options.store and not options.tune, packages=("onnxruntime", "pillow")
    )


if __name__ == "__main__":
    main()
