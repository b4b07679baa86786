"""Answers to the exercises of notebook 06: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np


# right: percentile: rounded up
def percentile(values, share):
    return sorted(values)[math.ceil(share / 100 * len(values)) - 1]


# right: percentile: rounded up after a product
def percentile(values, share):
    values.sort()
    return float(values[math.ceil(len(values) * share / 100) - 1])


# right: percentile: by its words
def percentile(values, share):
    for value in sorted(values):
        if 100 * sum(other <= value for other in values) >= share * len(values):
            return value


# right: percentile: rounded up after a division by 100
def percentile(values, share):
    return sorted(values)[math.ceil(len(values) / 100 * share) - 1]


# wrong: percentile: rounded down
def percentile(values, share):
    return sorted(values)[max(int(share * len(values) / 100), 1) - 1]


# wrong: percentile: rounded down, and one too far
def percentile(values, share):
    return sorted(values)[min(int(share * len(values) / 100), len(values) - 1)]


# wrong: percentile: rounded
def percentile(values, share):
    return sorted(values)[max(round(share * len(values) / 100), 1) - 1]


# wrong: percentile: one too far
def percentile(values, share):
    return sorted(values)[min(-(-share * len(values) // 100), len(values) - 1)]


# wrong: percentile: not sorted
def percentile(values, share):
    return values[-(-share * len(values) // 100) - 1]


# wrong: percentile: from the top
def percentile(values, share):
    return sorted(values, reverse=True)[-(-share * len(values) // 100) - 1]


# wrong: percentile: between two values
def percentile(values, share):
    return float(np.percentile(values, share))


# wrong: percentile: the nearest of NumPy
def percentile(values, share):
    return np.percentile(values, share, method="nearest")


# wrong: percentile: places from 0 to n - 1
def percentile(values, share):
    return sorted(values)[math.ceil(share / 100 * (len(values) - 1))]


# wrong: percentile: the share taken for one in 0..1
def percentile(values, share):
    return sorted(values)[min(math.ceil(share * len(values)), len(values)) - 1]


# wrong: percentile: always the median
def percentile(values, share):
    return sorted(values)[(len(values) - 1) // 2]


# wrong: percentile: a share of the largest
def percentile(values, share):
    return max(values) * share / 100


# wrong: percentile: the rank
def percentile(values, share):
    return -(-share * len(values) // 100)


# wrong: percentile: equal values once
def percentile(values, share):
    values = sorted(set(values))
    return values[max(-(-share * len(values) // 100), 1) - 1]


# wrong: percentile: fewer than share are smaller
def percentile(values, share):
    return [v for v in sorted(values) if 100 * sum(o < v for o in values) < share * len(values)][0]


# right: png_size: struct
def png_size(content):
    import struct

    if len(content) < 24:
        return None
    signature, _, letters, width, height = struct.unpack(">8sI4sII", content[:24])
    return (width, height) if signature == b"\x89PNG\r\n\x1a\n" and letters == b"IHDR" else None


# right: png_size: the length is looked at too, and a list
def png_size(content):
    if not content.startswith(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") or len(content) <= 23:
        return None
    return [int.from_bytes(content[start : start + 4], "big") for start in (16, 20)]


# right: png_size: byte by byte
def png_size(content):
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    try:
        sides = [sum(content[start + i] << (24 - 8 * i) for i in range(4)) for start in (16, 20)]
    except IndexError:
        return None
    return np.array(sides)


# wrong: png_size: height first
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[20:24], "big"), int.from_bytes(content[16:20], "big")


# wrong: png_size: the least significant byte first
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "little"), int.from_bytes(content[20:24], "little")


# wrong: png_size: everything is a PNG
def png_size(content):
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: the letters are not looked at
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: the signature is not looked at
def png_size(content):
    if len(content) < 24 or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: half of the signature
def png_size(content):
    if len(content) < 24 or content[:4] != b"\x89PNG" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: three letters of the signature
def png_size(content):
    if len(content) < 24 or content[1:4] != b"PNG" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: six bytes of the signature
def png_size(content):
    if len(content) < 24 or not content.startswith(b"\x89PNG\r\n") or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: the letters anywhere
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or b"IHDR" not in content:
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: a file cut off has a size
def png_size(content):
    if content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: a byte too few is enough
def png_size(content):
    if len(content) < 23 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: two bytes a side
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[18:20], "big"), int.from_bytes(content[22:24], "big")


# wrong: png_size: four bytes too early
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[12:16], "big"), int.from_bytes(content[16:20], "big")


# wrong: png_size: the pixels
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return None
    return int.from_bytes(content[16:20], "big") * int.from_bytes(content[20:24], "big")


# wrong: png_size: zeros for anything else
def png_size(content):
    if len(content) < 24 or content[:8] != b"\x89PNG\r\n\x1a\n" or content[12:16] != b"IHDR":
        return 0, 0
    return int.from_bytes(content[16:20], "big"), int.from_bytes(content[20:24], "big")


# wrong: png_size: decoded
def png_size(content):
    import io

    from PIL import Image

    try:
        return Image.open(io.BytesIO(content)).size
    except OSError:
        return None


# right: soften: the largest taken away first
def soften(logits, temperature):
    powers = np.exp((logits - np.max(logits)) / temperature)
    return powers / np.sum(powers)


# right: soften: by logarithms
def soften(logits, temperature):
    scaled = logits / temperature
    return np.exp(scaled - np.logaddexp.reduce(scaled))


# right: soften: loops
def soften(logits, temperature):
    scaled = [float(logit) / temperature for logit in logits]
    powers = [math.exp(one - max(scaled)) for one in scaled]
    return [power / sum(powers) for power in powers]


# right: soften: SciPy
def soften(logits, temperature):
    from scipy.special import softmax

    return softmax(logits / temperature)


# wrong: soften: large logits overflow
def soften(logits, temperature):
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(logits / temperature)
        return powers / powers.sum()


# wrong: soften: no temperature
def soften(logits, temperature):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


# wrong: soften: multiplied
def soften(logits, temperature):
    scaled = logits * temperature
    powers = np.exp(scaled - scaled.max())
    return powers / powers.sum()


# wrong: soften: divided after the softmax
def soften(logits, temperature):
    powers = np.exp(logits - logits.max())
    return powers / powers.sum() / temperature


# wrong: soften: the powers are divided
def soften(logits, temperature):
    powers = np.exp(logits - logits.max()) / temperature
    return powers / powers.sum()


# wrong: soften: does not add up to 1
def soften(logits, temperature):
    scaled = logits / temperature
    return np.exp(scaled - scaled.max())


# wrong: soften: the smallest taken away
def soften(logits, temperature):
    scaled = logits / temperature
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(scaled - scaled.min())
        return powers / powers.sum()


# wrong: soften: the largest taken away before the division of that alone
def soften(logits, temperature):
    powers = np.exp(logits / temperature - logits.max())
    return powers / powers.sum()


# wrong: soften: clipped
def soften(logits, temperature):
    powers = np.exp(np.clip(logits / temperature, -50, 50))
    return powers / powers.sum()


# wrong: soften: NaN made zeros
def soften(logits, temperature):
    with np.errstate(over="ignore", invalid="ignore"):
        powers = np.exp(logits / temperature)
        return np.nan_to_num(powers / powers.sum())


# wrong: soften: shares of the logits
def soften(logits, temperature):
    return logits / logits.sum()


# wrong: soften: logarithms
def soften(logits, temperature):
    scaled = logits / temperature
    return scaled - np.logaddexp.reduce(scaled)


# wrong: soften: sigmoid
def soften(logits, temperature):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-logits / temperature))


# right: repair: from the darkest to the brightest value of each channel
def repair(images):
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    return ((images - low.astype(float)) * 255 / np.maximum(high.astype(float) - low, 1)).astype("uint8")


# right: repair: Pillow's autocontrast
def repair(images):
    from PIL import Image, ImageOps

    faces = [ImageOps.autocontrast(Image.fromarray(face), cutoff=2) for face in images]
    return np.stack([np.asarray(face) for face in faces])


# right: repair: mean and deviation of each channel, loops
def repair(images):
    repaired = []
    for face in images.astype(float):
        for channel, (mean, deviation) in enumerate(((128, 64), (111, 60), (100, 58))):
            part = face[..., channel]
            face[..., channel] = (part - part.mean()) / (part.std() + 0.1) * deviation + mean
        repaired.append(np.clip(face, 0, 255).round().astype(np.uint8))
    return np.array(repaired)


# wrong: repair: nothing
def repair(images):
    return images.copy()


# wrong: repair: all as bright as the others
def repair(images):
    brightness = images.mean((1, 2, 3), keepdims=True)
    return np.clip(images * (115 / brightness), 0, 255).astype(np.uint8)


# wrong: repair: each channel as bright as in training
def repair(images):
    brightness = images.mean((1, 2), keepdims=True)
    return np.clip(images * (np.array([128, 111, 100]) / brightness), 0, 255).astype(np.uint8)


# wrong: repair: stretched by the extremes of all pictures together
def repair(images):
    low, high = np.percentile(images, (2, 98))
    return (255 * ((images - low) / (high - low)).clip(0, 1)).astype(np.uint8)


# wrong: repair: a gamma curve
def repair(images):
    return (255 * (images / 255) ** 0.5).astype(np.uint8)


# wrong: repair: more contrast about the middle
def repair(images):
    return np.clip((images - 127.0) * 2 + 127, 0, 255).astype(np.uint8)


# wrong: repair: the extremes along the wrong axes
def repair(images):
    low, high = images.min((0, 1), keepdims=True), images.max((0, 1), keepdims=True)
    return ((images - low.astype(float)) * 255 / np.maximum(high.astype(float) - low, 1)).astype("uint8")


# wrong: repair: only the darkest value is moved
def repair(images):
    return images - images.min((1, 2), keepdims=True)


# wrong: repair: from 0 to 1
def repair(images):
    low, high = images.min((1, 2), keepdims=True), images.max((1, 2), keepdims=True)
    return (images - low.astype(float)) / np.maximum(high.astype(float) - low, 1)
