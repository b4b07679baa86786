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
    """Turn linear light, float32 [S, S, 3], into a picture as a camera stores it, uint8 [S, S, 3], sRGB."""
    size = len(light)
    light = light * (camera.exposure * np.array(camera.white_balance, np.float32))
    light = blur(np.maximum(light, 0), camera.blur * size / 128)
    picture = develop(light)
    picture = 0.5 + (picture - 0.5) * camera.contrast
    grey = ((picture[..., 0] + picture[..., 1] + picture[..., 2]) * (1 / 3))[..., None]
    picture = 255 * (grey + (picture - grey) * camera.saturation)
    picture = picture + camera.noise * sensor_noise(sampler, size)
    eight_bits = np.clip(picture + 0.5, 0, 255).astype(np.uint8)
    return np.asarray(Image.open(io.BytesIO(encode_jpeg(eight_bits, camera.jpeg_quality))))


def develop(light: np.ndarray) -> np.ndarray:
    """Return light, float32 from 0 on, as a screen shows it, float32 in 0..1."""
    light = np.minimum(light / (1 + 0.25 * light), 1)  # highlights saturate gently, as film does
    return SCREEN[(np.sqrt(light) * (len(SCREEN) - 1) + 0.5).astype(np.int32)]


def sensor_noise(sampler: Sampler, size: int) -> np.ndarray:
    """Return noise of about unit strength, float32 [S, S, 3]: more of it in brightness than in colour."""
    grain = sampler.array(2, size, size, 1)
    colour = sampler.array(size, size, 3)
    return 2.4 * (grain[0] + grain[1] - 1) + 1.2 * (colour - 0.5)


def blur(picture: np.ndarray, deviation: float) -> np.ndarray:
    """Return the picture [S, S, 3] under a Gaussian blur; the deviation is in pixels, edges are repeated."""
    reach = max(1, math.ceil(2.5 * deviation))
    weights = [math.exp(-0.5 * (step / deviation) ** 2) for step in range(reach + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis in (0, 1):
        padding = [(reach, reach) if dimension == axis else (0, 0) for dimension in range(3)]
        padded = np.moveaxis(np.pad(picture, padding, mode="edge"), axis, 0)
        size = picture.shape[axis]
        blurred = (weights[0] / total) * padded[reach : reach + size]
        for step in range(1, reach + 1):
            pair = padded[reach - step : reach - step + size] + padded[reach + step : reach + step + size]
            blurred = blurred + (weights[step] / total) * pair
        picture = np.moveaxis(blurred, 0, axis)
    return picture


def encode_jpeg(picture: np.ndarray, quality: int) -> bytes:
    """Return a picture, uint8 [S, S, 3], as a JPEG file of this quality (1..100)."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, "JPEG", quality=quality)
    return file.getvalue()
