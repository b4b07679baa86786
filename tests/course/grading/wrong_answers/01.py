"""Answers to the exercises of notebook 01: the right ones get all points, the wrong ones at most a third."""

import numpy as np
import torch

from elfw_helpers.data.labels import EYEWEAR, WEARABLE


# right: attribute_of_mask: whole numbers, by NumPy
def attribute_of_mask(mask):
    ids = mask.numpy()
    if 1000 * (ids == WEARABLE).sum() > 5 * ids.size:
        return np.int64(2)
    return np.int64(1000 * (ids == EYEWEAR).sum() > 4 * ids.size)


# right: attribute_of_mask: loops, and a truth value for 0 or 1
def attribute_of_mask(mask):
    height, width = mask.shape
    caps = glasses = 0
    for row in mask.tolist():
        for pixel in row:
            caps += pixel == WEARABLE
            glasses += pixel == EYEWEAR
    if caps / (height * width) > 0.005:
        return 2
    return glasses / (height * width) > 0.004


# right: attribute_of_mask: a tensor, by bincount
def attribute_of_mask(mask):
    shares = torch.bincount(mask.flatten().long(), minlength=7) / mask.numel()
    return torch.where(shares[WEARABLE] > 0.005, 2.0, (shares[EYEWEAR] > 0.004).float())


# wrong: attribute_of_mask: any pixel is enough
def attribute_of_mask(mask):
    if (mask == WEARABLE).any():
        return 2
    return 1 if (mask == EYEWEAR).any() else 0


# wrong: attribute_of_mask: the two shares have changed places
def attribute_of_mask(mask):
    if (mask == WEARABLE).float().mean() > 0.004:
        return 2
    return 1 if (mask == EYEWEAR).float().mean() > 0.005 else 0


# wrong: attribute_of_mask: glasses go before a cap
def attribute_of_mask(mask):
    if (mask == EYEWEAR).float().mean() > 0.004:
        return 1
    return 2 if (mask == WEARABLE).float().mean() > 0.005 else 0


# wrong: attribute_of_mask: the pixels of the check, not a share
def attribute_of_mask(mask):
    if (mask == WEARABLE).sum() > 50:
        return 2
    return 1 if (mask == EYEWEAR).sum() > 40 else 0


# wrong: attribute_of_mask: a share of the face, not of the image
def attribute_of_mask(mask):
    face = max(int((mask > 0).sum()), 1)
    if (mask == WEARABLE).sum() / face > 0.005:
        return 2
    return 1 if (mask == EYEWEAR).sum() / face > 0.004 else 0


# wrong: attribute_of_mask: per cent taken for shares
def attribute_of_mask(mask):
    if (mask == WEARABLE).float().mean() > 0.5:
        return 2
    return 1 if (mask == EYEWEAR).float().mean() > 0.4 else 0


# wrong: attribute_of_mask: one share for both
def attribute_of_mask(mask):
    if (mask == WEARABLE).float().mean() > 0.005:
        return 2
    return 1 if (mask == EYEWEAR).float().mean() > 0.005 else 0


# wrong: attribute_of_mask: the image is taken for a square
def attribute_of_mask(mask):
    pixels = mask.shape[1] ** 2
    if (mask == WEARABLE).sum() / pixels > 0.005:
        return 2
    return 1 if (mask == EYEWEAR).sum() / pixels > 0.004 else 0


# wrong: attribute_of_mask: the ids of labels.txt, which begin at 1
def attribute_of_mask(mask):
    if (mask == WEARABLE).float().mean() > 0.005:
        return 3
    return 2 if (mask == EYEWEAR).float().mean() > 0.004 else 1


# wrong: attribute_of_mask: as much is enough, where more is asked for
def attribute_of_mask(mask):
    if 1000 * (mask == WEARABLE).sum() >= 5 * mask.numel():
        return 2
    return 1 if 1000 * (mask == EYEWEAR).sum() >= 4 * mask.numel() else 0


# right: attribute_of_mask: shares in double precision
def attribute_of_mask(mask):
    caps, glasses = (
        torch.count_nonzero(mask == label).item() / mask.numel() for label in (WEARABLE, EYEWEAR)
    )
    return 2 if caps > 0.005 else int(glasses > 0.004)


# right: attribute_of_mask: per cent, in single precision
def attribute_of_mask(mask):
    caps, glasses = (100 * (mask == label).float().mean() for label in (WEARABLE, EYEWEAR))
    return 2 if caps > 0.5 else int(glasses > 0.4)


# wrong: attribute_of_mask: names
def attribute_of_mask(mask):
    if (mask == WEARABLE).float().mean() > 0.005:
        return "cap"
    return "spectacles" if (mask == EYEWEAR).float().mean() > 0.004 else "hair"


# wrong: attribute_of_mask: the commonest class
def attribute_of_mask(mask):
    return {EYEWEAR: 1, WEARABLE: 2}.get(int(mask.flatten().mode().values), 0)


# right: halve_mask: NumPy
def halve_mask(mask):
    return np.array(mask)[0::2, 0::2]


# right: halve_mask: by nearest neighbour
def halve_mask(mask):
    halved = torch.nn.functional.interpolate(mask[None, None].float(), scale_factor=0.5, mode="nearest")
    return halved[0, 0].to(torch.uint8)


# right: halve_mask: loops
def halve_mask(mask):
    height, width = mask.shape
    halved = torch.empty((height // 2, width // 2), dtype=mask.dtype)
    for y in range(height // 2):
        for x in range(width // 2):
            halved[y, x] = mask[2 * y, 2 * x]
    return halved


# wrong: halve_mask: the mean, which makes new classes
def halve_mask(mask):
    return torch.nn.functional.avg_pool2d(mask[None].float(), 2)[0].to(torch.uint8)


# wrong: halve_mask: the largest class id
def halve_mask(mask):
    return torch.nn.functional.max_pool2d(mask[None].float(), 2)[0].to(torch.uint8)


# wrong: halve_mask: the bottom right pixel
def halve_mask(mask):
    return mask[1::2, 1::2]


# wrong: halve_mask: the top left quarter
def halve_mask(mask):
    return mask[: mask.shape[0] // 2, : mask.shape[1] // 2]


# wrong: halve_mask: the height alone
def halve_mask(mask):
    return mask[::2]


# wrong: halve_mask: floats
def halve_mask(mask):
    return mask[::2, ::2].float()


# wrong: halve_mask: int64
def halve_mask(mask):
    return torch.tensor(mask[::2, ::2].tolist())


# wrong: halve_mask: height and width have changed places
def halve_mask(mask):
    return mask.T[::2, ::2]


# wrong: halve_mask: the shape alone
def halve_mask(mask):
    return torch.zeros(mask.shape[0] // 2, mask.shape[1] // 2, dtype=torch.uint8)


# wrong: halve_mask: by nearest neighbour of the centres
def halve_mask(mask):
    halved = torch.nn.functional.interpolate(mask[None, None].float(), scale_factor=0.5, mode="nearest-exact")
    return halved[0, 0].to(torch.uint8)


# wrong: halve_mask: the commonest of four
def halve_mask(mask):
    height, width = mask.shape
    fours = mask.reshape(height // 2, 2, width // 2, 2).transpose(1, 2).flatten(2)
    return fours.mode(2).values


# right: leaked_share: NumPy
def leaked_share(persons, train, test):
    persons = np.array(persons)
    return np.isin(persons[test], persons[train]).mean()


# right: leaked_share: a loop
def leaked_share(persons, train, test):
    leaked = 0
    for index in test:
        if any(persons[index] == persons[other] for other in train):
            leaked += 1
    return leaked / len(test)


# right: leaked_share: a tensor
def leaked_share(persons, train, test):
    known = [persons[index] for index in train]
    return torch.tensor([float(persons[index] in known) for index in test]).mean()


# wrong: leaked_share: people, not images
def leaked_share(persons, train, test):
    known, asked = {persons[i] for i in train}, {persons[i] for i in test}
    return len(known & asked) / len(asked)


# wrong: leaked_share: people by images
def leaked_share(persons, train, test):
    return len({persons[i] for i in train} & {persons[i] for i in test}) / len(test)


# wrong: leaked_share: a number, not a share
def leaked_share(persons, train, test):
    known = {persons[i] for i in train}
    return sum(persons[i] in known for i in test)


# wrong: leaked_share: a share of all images
def leaked_share(persons, train, test):
    known = {persons[i] for i in train}
    return sum(persons[i] in known for i in test) / len(persons)


# wrong: leaked_share: the training images, not those of the test
def leaked_share(persons, train, test):
    asked = {persons[i] for i in test}
    return sum(persons[i] in asked for i in train) / len(train)


# wrong: leaked_share: images in common, not people
def leaked_share(persons, train, test):
    return len(set(train) & set(test)) / len(test)


# wrong: leaked_share: per cent
def leaked_share(persons, train, test):
    known = {persons[i] for i in train}
    return 100 * sum(persons[i] in known for i in test) / len(test)


# wrong: leaked_share: whole numbers
def leaked_share(persons, train, test):
    known = {persons[i] for i in train}
    return sum(persons[i] in known for i in test) // len(test)


# wrong: leaked_share: yes or no
def leaked_share(persons, train, test):
    return float(bool({persons[i] for i in train} & {persons[i] for i in test}))


# wrong: leaked_share: the share that does not leak
def leaked_share(persons, train, test):
    known = {persons[i] for i in train}
    return sum(persons[i] not in known for i in test) / len(test)


# wrong: leaked_share: the first images of the list are taken for those of the training
def leaked_share(persons, train, test):
    known = persons[: len(train)]
    return sum(persons[i] in known for i in test) / len(test)


# wrong: leaked_share: the check's answers
def leaked_share(persons, train, test):
    return 2 / 3 if len(test) == 3 else 0


# right: describe_faces: finer colours, with each face's own mean and deviation taken out, in NumPy
def describe_faces(images):
    squares = np.asarray(images, dtype=np.float64).reshape(-1, 16, 2, 16, 2, 3).mean((2, 4)) / 255
    mean, deviation = squares.mean((1, 2), keepdims=True), squares.std((1, 2), keepdims=True)
    return ((squares - mean) / (deviation + 1e-6)).reshape(len(squares), -1)


# right: describe_faces: colours, and edges of the grey picture
def describe_faces(images):
    pool = torch.nn.AdaptiveAvgPool2d(12)
    pixels = images.permute(0, 3, 1, 2) / 255
    grey = pixels.mean(1, keepdim=True)
    edges = (grey.diff(dim=3).abs(), grey.diff(dim=2).abs())
    return torch.cat([pool(part).flatten(1) for part in (pixels, *edges)], 1)


# right: describe_faces: one face after the other
def describe_faces(images):
    rows = []
    for image in images:
        pixels = image.permute(2, 0, 1).float() / 255
        parts = (pixels, pixels.diff(dim=2).abs(), pixels.diff(dim=1).abs())
        pooled = [torch.nn.functional.adaptive_avg_pool2d(part, 10).flatten() for part in parts]
        rows.append(torch.cat(pooled))
    return torch.stack(rows)


# wrong: describe_faces: the plain rows
def describe_faces(images):
    pixels = images.permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.adaptive_avg_pool2d(pixels, 8).flatten(1)


# wrong: describe_faces: the plain rows, finer
def describe_faces(images):
    pixels = images.permute(0, 3, 1, 2).float() / 255
    return torch.nn.functional.adaptive_avg_pool2d(pixels, 16).flatten(1)


# wrong: describe_faces: grey, at full size but for two rows
def describe_faces(images):
    return images.float().mean(3)[:, :30].flatten(1) / 255


# wrong: describe_faces: all pixels, more than a thousand numbers
def describe_faces(images):
    return images.float().flatten(1) / 255


# wrong: describe_faces: ImageNet's numbers, which a linear classifier makes up for
def describe_faces(images):
    pixels = images.permute(0, 3, 1, 2).float() / 255
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]]).view(2, 3, 1, 1)
    return torch.nn.functional.adaptive_avg_pool2d((pixels - mean) / std, 8).flatten(1)


# wrong: describe_faces: differences with their sign, which cancel
def describe_faces(images):
    pixels, pool = images.permute(0, 3, 1, 2).float() / 255, torch.nn.AdaptiveAvgPool2d(12)
    return torch.cat([pool(pixels.diff(dim=3)).flatten(1), pool(pixels.diff(dim=2)).flatten(1)], 1)


# wrong: describe_faces: differences alone
def describe_faces(images):
    pixels, pool = images.permute(0, 3, 1, 2).float() / 255, torch.nn.AdaptiveAvgPool2d(8)
    return torch.cat([pool(part.abs()).flatten(1) for part in (pixels.diff(dim=3), pixels.diff(dim=2))], 1)


# wrong: describe_faces: three numbers
def describe_faces(images):
    return images.float().mean((1, 2)) / 255


# wrong: describe_faces: zeros
def describe_faces(images):
    return torch.zeros(len(images), 10)


# wrong: describe_faces: the images as they are
def describe_faces(images):
    return images
