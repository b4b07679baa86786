"""Answers to the exercises of notebook 08: the right ones get all points, the wrong ones at most a third."""

import numpy as np
import torch


# right: blend_and_label: copies, changed where the object is seen
def blend_and_label(image, mask, rgba, label, threshold):
    new_image, new_mask = image.copy(), mask.copy()
    alpha = rgba[..., 3] / 255.0
    seen = alpha >= threshold
    share = alpha[seen][:, None]
    new_image[seen] = np.round(share * rgba[seen][:, :3] + (1 - share) * image[seen])
    new_mask[seen] = label
    return [new_image, new_mask]


# right: blend_and_label: loops
def blend_and_label(image, mask, rgba, label, threshold):
    new_image, new_mask = np.array(image), np.array(mask)
    for y in range(mask.shape[0]):
        for x in range(mask.shape[1]):
            alpha = float(rgba[y, x, 3]) / 255
            if alpha >= threshold:
                new_mask[y, x] = label
                for c in range(3):
                    new_image[y, x, c] = round(
                        alpha * float(rgba[y, x, c]) + (1 - alpha) * float(image[y, x, c])
                    )
    return new_image, new_mask


# right: blend_and_label: whole numbers
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:].astype(int)
    blended = (2 * (alpha * rgba[..., :3] + (255 - alpha) * image) + 255) // 510
    seen = alpha >= threshold * 255
    return np.where(seen, blended, image).astype("uint8"), np.where(seen[..., 0], np.uint8(label), mask)


# wrong: blend_and_label: the old ones change
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3] / 255
    seen = alpha >= threshold
    share = alpha[seen][:, None]
    image[seen] = np.rint(share * rgba[seen][:, :3] + (1 - share) * image[seen])
    mask[seen] = label
    return image, mask


# wrong: blend_and_label: the old mask changes
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    mask[seen] = label
    return np.where(seen[..., None], blended, image).astype(np.uint8), mask


# wrong: blend_and_label: more than the threshold
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] > threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    return np.where(seen[..., None], blended, image).astype(np.uint8), np.where(seen, label, mask).astype(
        np.uint8
    )


# wrong: blend_and_label: cut off, not rounded
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = alpha * rgba[..., :3] + (1 - alpha) * image
    return np.where(seen[..., None], blended, image).astype(np.uint8), np.where(seen, label, mask).astype(
        np.uint8
    )


# wrong: blend_and_label: the object is blended everywhere
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image).astype(np.uint8)
    return blended, np.where(alpha[..., 0] >= threshold, label, mask).astype(np.uint8)


# wrong: blend_and_label: the threshold is always one half
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= 0.5
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    return np.where(seen[..., None], blended, image).astype(np.uint8), np.where(seen, label, mask).astype(
        np.uint8
    )


# wrong: blend_and_label: pasted, not blended
def blend_and_label(image, mask, rgba, label, threshold):
    seen = rgba[..., 3] / 255 >= threshold
    return np.where(seen[..., None], rgba[..., :3], image), np.where(seen, label, mask).astype(np.uint8)


# wrong: blend_and_label: alpha stays 0..255
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:]
    seen = alpha[..., 0] >= threshold
    blended = alpha * rgba[..., :3] + (1 - alpha) * image
    return np.where(seen[..., None], blended, image).astype(np.uint8), np.where(seen, label, mask).astype(
        np.uint8
    )


# wrong: blend_and_label: object and image have changed places
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint((1 - alpha) * rgba[..., :3] + alpha * image)
    return np.where(seen[..., None], blended, image).astype(np.uint8), np.where(seen, label, mask).astype(
        np.uint8
    )


# wrong: blend_and_label: floats
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    return np.where(seen[..., None], blended, image), np.where(seen, label, mask)


# wrong: blend_and_label: the mask of int64
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    return np.where(seen[..., None], blended, image).astype(np.uint8), np.where(seen, label, mask.astype(int))


# wrong: blend_and_label: background is no label
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    new_mask = (
        np.maximum(mask, seen * np.uint8(label)) if label < 4 else np.where(seen, np.uint8(label), mask)
    )
    return np.where(seen[..., None], blended, image).astype(np.uint8), new_mask


# wrong: blend_and_label: only empty places are labelled
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    new_mask = np.where(seen & (mask == 0), label, mask).astype(np.uint8)
    return np.where(seen[..., None], blended, image).astype(np.uint8), new_mask


# wrong: blend_and_label: all that is not transparent is labelled
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    new_mask = np.where(alpha[..., 0] > 0, label, mask).astype(np.uint8)
    return np.where(seen[..., None], blended, image).astype(np.uint8), new_mask


# wrong: blend_and_label: the image alone
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    return np.where(alpha >= threshold, blended, image).astype(np.uint8)


# wrong: blend_and_label: the mask first
def blend_and_label(image, mask, rgba, label, threshold):
    alpha = rgba[..., 3:] / 255
    seen = alpha[..., 0] >= threshold
    blended = np.rint(alpha * rgba[..., :3] + (1 - alpha) * image)
    return np.where(seen, label, mask).astype(np.uint8), np.where(seen[..., None], blended, image).astype(
        np.uint8
    )


# wrong: blend_and_label: unchanged
def blend_and_label(image, mask, rgba, label, threshold):
    return image, mask


# right: match_channel: the deviation of a sample
def match_channel(values, rendered, face):
    stretch = face.std(ddof=1) / rendered.std(ddof=1)
    return face.mean() + stretch * (values - rendered.mean())


# right: match_channel: standard scores
def match_channel(values, rendered, face):
    scores = (values - np.mean(rendered)) / np.std(rendered)
    return scores * np.std(face) + np.mean(face)


# right: match_channel: tensors
def match_channel(values, rendered, face):
    values, rendered, face = (torch.from_numpy(one) for one in (values, rendered, face))
    return (values - rendered.mean()) * (face.std() / rendered.std()) + face.mean()


# right: match_channel: a line through two points
def match_channel(values, rendered, face):
    slope = np.sqrt(face.var() / rendered.var())
    return slope * values + (face.mean() - slope * rendered.mean())


# right: match_channel: skins are centred in place
def match_channel(values, rendered, face):
    old, new = rendered.mean(), face.mean()
    rendered -= old
    face -= new
    values -= old
    return values * np.sqrt((face**2).mean() / (rendered**2).mean()) + new


# wrong: match_channel: the shift alone
def match_channel(values, rendered, face):
    return values - rendered.mean() + face.mean()


# wrong: match_channel: the stretch alone
def match_channel(values, rendered, face):
    return values * face.std() / rendered.std()


# wrong: match_channel: stretched the other way
def match_channel(values, rendered, face):
    return (values - rendered.mean()) * rendered.std() / face.std() + face.mean()


# wrong: match_channel: variances
def match_channel(values, rendered, face):
    return (values - rendered.mean()) * face.var() / rendered.var() + face.mean()


# wrong: match_channel: by the object's own mean
def match_channel(values, rendered, face):
    return (values - values.mean()) * face.std() / rendered.std() + face.mean()


# wrong: match_channel: by the object's own mean and deviation
def match_channel(values, rendered, face):
    return (values - values.mean()) / max(values.std(), 1e-9) * face.std() + face.mean()


# wrong: match_channel: back to the rendered skin
def match_channel(values, rendered, face):
    return (values - rendered.mean()) * face.std() / rendered.std() + rendered.mean()


# wrong: match_channel: the two skins have changed places
def match_channel(values, rendered, face):
    return (values - face.mean()) * rendered.std() / face.std() + rendered.mean()


# wrong: match_channel: clipped
def match_channel(values, rendered, face):
    return np.clip((values - rendered.mean()) * face.std() / rendered.std() + face.mean(), 0, 1)


# wrong: match_channel: the mean divided too
def match_channel(values, rendered, face):
    return values - rendered.mean() * face.std() / rendered.std() + face.mean()


# wrong: match_channel: from the lowest to the highest
def match_channel(values, rendered, face):
    return (values - rendered.min()) / np.ptp(rendered) * np.ptp(face) + face.min()


# wrong: match_channel: medians
def match_channel(values, rendered, face):
    return (values - np.median(rendered)) * face.std() / rendered.std() + np.median(face)


# wrong: match_channel: the sign of the shift
def match_channel(values, rendered, face):
    return (values + rendered.mean()) * face.std() / rendered.std() - face.mean()


# right: may_train: a loop
def may_train(origins, training_names):
    names = []
    for name in origins:
        held_out = (origins[name].object_seed + 1) % 5 == 0
        if origins[name].source in training_names and not held_out:
            names.append(name)
    return names


# right: may_train: filter, and a tuple
def may_train(origins, training_names):
    trained = range(4)
    chosen = filter(
        lambda one: one[1].object_seed % 5 in trained and one[1].source in training_names, origins.items()
    )
    return tuple(name for name, _ in chosen)


# right: may_train: pandas
def may_train(origins, training_names):
    import pandas as pd

    table = pd.DataFrame({"name": list(origins)})
    table["source"] = [origin.source for origin in origins.values()]
    table["seed"] = [origin.object_seed for origin in origins.values()]
    return table[table.source.isin(training_names) & (table.seed % 5 != 4)].name.tolist()


# wrong: may_train: no object is held out
def may_train(origins, training_names):
    return [name for name, origin in origins.items() if origin.source in training_names]


# wrong: may_train: no face is held out
def may_train(origins, training_names):
    return [name for name, origin in origins.items() if origin.object_seed % 5 != 4]


# wrong: may_train: seeds 0, 5, 10 are held out
def may_train(origins, training_names):
    return [n for n, origin in origins.items() if origin.source in training_names and origin.object_seed % 5]


# wrong: may_train: only what is held out
def may_train(origins, training_names):
    return [
        n for n, origin in origins.items() if origin.source in training_names and origin.object_seed % 5 == 4
    ]


# wrong: may_train: the names of copies, not of their sources
def may_train(origins, training_names):
    return [
        name for name, origin in origins.items() if name in training_names and origin.object_seed % 5 != 4
    ]


# wrong: may_train: one or the other
def may_train(origins, training_names):
    return [
        n for n, origin in origins.items() if origin.source in training_names or origin.object_seed % 5 != 4
    ]


# wrong: may_train: every fifth copy, not object
def may_train(origins, training_names):
    return [
        name
        for place, (name, origin) in enumerate(origins.items())
        if origin.source in training_names and place % 5 != 4
    ]


# wrong: may_train: seeds 4, 9 and 14 alone
def may_train(origins, training_names):
    return [
        name
        for name, origin in origins.items()
        if origin.source in training_names and origin.object_seed not in (4, 9, 14)
    ]


# wrong: may_train: every fourth object
def may_train(origins, training_names):
    return [
        n for n, origin in origins.items() if origin.source in training_names and origin.object_seed % 4 != 0
    ]


# wrong: may_train: sorted
def may_train(origins, training_names):
    return sorted(
        n for n, origin in origins.items() if origin.source in training_names and origin.object_seed % 5 != 4
    )


# wrong: may_train: sources
def may_train(origins, training_names):
    return [o.source for o in origins.values() if o.source in training_names and o.object_seed % 5 != 4]


# wrong: may_train: the faces of the test
def may_train(origins, training_names):
    return [
        n
        for n, origin in origins.items()
        if origin.source not in training_names and origin.object_seed % 5 != 4
    ]


# wrong: may_train: part of a name is enough
def may_train(origins, training_names):
    return [
        name
        for name, origin in origins.items()
        if any(origin.source in one for one in training_names) and origin.object_seed % 5 != 4
    ]


# wrong: may_train: how many
def may_train(origins, training_names):
    return sum(o.source in training_names and o.object_seed % 5 != 4 for o in origins.values())


# right: make_training_set: mirrored, brighter and darker, in a loop
def make_training_set(images, labels, seed):
    generator = np.random.RandomState(seed)
    counts, pictures, names = np.bincount(labels), [], []
    for image, label in zip(images, labels):
        for copy in range(4 * counts.max() // counts[label]):
            picture = image[:, ::-1] if generator.rand() < 0.5 else image
            picture = np.roll(picture, generator.randint(-2, 3), axis=copy % 2)
            pictures.append(np.clip(picture * generator.uniform(0.7, 1.3), 0, 255).astype(np.uint8))
            names.append(label)
    return np.stack(pictures), np.array(names)


# right: make_training_set: moved by torch, as a list of labels
def make_training_set(images, labels, seed):
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    padded = torch.nn.functional.pad(pixels, (2, 2, 2, 2), mode="replicate").to(torch.uint8)
    pictures, names = [], []
    for label in range(3):
        chosen = np.flatnonzero(labels == label)
        for index in np.resize(chosen, 800):
            y, x, flip = torch.randint(0, 5, (3,), generator=generator).tolist()
            picture = padded[index, :, y : y + 32, x : x + 32]
            pictures.append(picture.flip(2) if flip > 2 else picture)
            names.append(label)
    return torch.stack(pictures).permute(0, 2, 3, 1).numpy(), names


# wrong: make_training_set: as it is
def make_training_set(images, labels, seed):
    return images, labels


# wrong: make_training_set: the rare faces repeated, the same each time
def make_training_set(images, labels, seed):
    often = np.bincount(labels).max()
    chosen = np.concatenate([np.resize(np.flatnonzero(labels == k), often) for k in range(3)])
    return images[chosen], labels[chosen]


# wrong: make_training_set: everything repeated, the rare ones as rare as before
def make_training_set(images, labels, seed):
    return np.tile(images, (4, 1, 1, 1)), np.tile(labels, 4)


# wrong: make_training_set: noise with labels
def make_training_set(images, labels, seed):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (600, 32, 32, 3), dtype=np.uint8), np.arange(600) % 3
