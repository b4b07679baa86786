"""Turns light into a photo: exposure, white balance, blur, noise, 8 bits and JPEG."""

from __future__ import annotations

import io
import math

import numpy as np
from PIL import Image

from elfw_helpers.rendering.colours import GAMMA
from elfw_helpers.rendering.parameters import Camera
from elfw_helpers.rendering.random_streams import Sampler

# Light to screen, x ** (1 / GAMMA), by the square root of the light: a table is faster than a power, and the
# same on every processor. Steps of 1 / 4095 are finer than 256 grey levels.
SCREEN = (np.linspace(0, 1, 4096) ** (2 / GAMMA)).astype(np.float32)


def take_photo(light: np.ndarray, camera: Camera, sampler: Sampler) -> np.ndarray:
    """Turn linear light, float32 [3, S, S], into a picture as a camera stores it, uint8 [S, S, 3], sRGB."""
    size = light.shape[-1]
    light = light * (camera.exposure * np.array(camera.white_balance, np.float32))[:, None, None]
    light = blur(light.clip(0, np.inf), camera.blur * size / 128)
    picture = develop(light)
    picture = 0.5 + (picture - 0.5) * camera.contrast
    grey = (picture[0] + picture[1] + picture[2]) * (1 / 3)
    picture = 255 * (grey + (picture - grey) * camera.saturation)
    picture += camera.noise * sensor_noise(sampler, size)
    eight_bits = (picture + 0.5).clip(0, 255).astype(np.uint8)
    file = encode_jpeg(np.ascontiguousarray(eight_bits.transpose(1, 2, 0)), camera.jpeg_quality)
    return np.asarray(Image.open(io.BytesIO(file)))


def develop(light: np.ndarray) -> np.ndarray:
    """Return light, float32 from 0 on, as a screen shows it, float32 in 0..1."""
    light = (light / (1 + 0.25 * light)).clip(0, 1)  # highlights saturate gently, as film does
    return SCREEN.take((np.sqrt(light) * (len(SCREEN) - 1) + 0.5).astype(np.int32))


def sensor_noise(sampler: Sampler, size: int) -> np.ndarray:
    """Return noise of about unit strength, float32 [3, S, S]: more of it in brightness than in colour."""
    grain, colour = sampler.array(2, size, size), sampler.array(size, size, 3)
    return 2.4 * (grain[0] + grain[1] - 1) + 1.2 * (np.ascontiguousarray(colour.transpose(2, 0, 1)) - 0.5)


def blur(picture: np.ndarray, deviation: float) -> np.ndarray:
    """Return the picture [3, S, S] under a Gaussian blur; the deviation is in pixels, edges are repeated."""
    reach = max(1, math.ceil(2.5 * deviation))
    weights = [math.exp(-0.5 * (step / deviation) ** 2) for step in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis in (1, 2):
        size, first, last = picture.shape[axis], picture.take([0], axis), picture.take([-1], axis)
        padded = np.concatenate([first.repeat(reach, axis), picture, last.repeat(reach, axis)], axis)
        starts = [(slice(None),) * axis + (slice(start, start + size),) for start in range(2 * reach + 1)]
        blurred = (weights[0] / total) * padded[starts[reach]]
        for step in range(1, reach + 1):
            pair = padded[starts[reach - step]] + padded[starts[reach + step]]
            pair *= weights[step] / total
            blurred += pair
        picture = blurred
    return picture


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Return a picture, uint8 [S, S, 3], as a JPEG file of this quality (1..100)."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()
