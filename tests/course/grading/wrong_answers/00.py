"""Answers to the exercises of notebook 00: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import torch
from torch.nn.functional import conv2d, pad


# right: feature_map: by torch
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[None], torch.tensor([float(bias)]), padding=1)[0, 0]


# right: feature_map: one channel after the other, in NumPy
def feature_map(image, kernel, bias):
    _, height, width = image.shape
    result = np.full((height, width), float(bias))
    for channel, weights in zip(np.array(image), np.array(kernel), strict=True):
        padded = np.pad(channel, 1)
        for row in range(3):
            for column in range(3):
                result += weights[row, column] * padded[row : row + height, column : column + width]
    return result


# right: feature_map: pixel by pixel, without a border, as lists
def feature_map(image, kernel, bias):
    channels, height, width = image.shape
    rows = []
    for row in range(height):
        rows.append([])
        for column in range(width):
            total = bias
            for channel in range(channels):
                for down in (-1, 0, 1):
                    for across in (-1, 0, 1):
                        if 0 <= row + down < height and 0 <= column + across < width:
                            pixel = image[channel, row + down, column + across].item()
                            total += pixel * kernel[channel, down + 1, across + 1].item()
            rows[-1].append(total)
    return torch.tensor(rows)


# wrong: feature_map: the border is lost
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[None], torch.tensor([bias]))[0, 0]


# wrong: feature_map: no bias
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[None], padding=1)[0, 0]


# wrong: feature_map: the bias for each channel
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[None], padding=1)[0, 0] + bias * len(image)


# wrong: feature_map: ReLU as well
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[None], torch.tensor([bias]), padding=1)[0, 0].relu()


# wrong: feature_map: the first channel alone
def feature_map(image, kernel, bias):
    return conv2d(image[None, :1], kernel[None, :1], torch.tensor([bias]), padding=1)[0, 0]


# wrong: feature_map: the mean of the channels
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[None] / len(image), torch.tensor([bias]), padding=1)[0, 0]


# wrong: feature_map: a map for each channel
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel[:, None], padding=1, groups=len(image))[0] + bias


# wrong: feature_map: the filter turned, as mathematicians define a convolution
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel.flip(1, 2)[None], torch.tensor([bias]), padding=1)[0, 0]


# wrong: feature_map: rows and columns of the filter have changed places
def feature_map(image, kernel, bias):
    return conv2d(image[None], kernel.transpose(1, 2)[None], torch.tensor([bias]), padding=1)[0, 0]


# wrong: feature_map: one kernel for all channels
def feature_map(image, kernel, bias):
    return conv2d(image.sum(0)[None, None], kernel[None, :1], torch.tensor([bias]), padding=1)[0, 0]


# wrong: feature_map: the border repeated instead of 0
def feature_map(image, kernel, bias):
    padded = pad(image[None], (1, 1, 1, 1), mode="replicate")
    return conv2d(padded, kernel[None], torch.tensor([bias]))[0, 0]


# wrong: feature_map: a border on two sides only
def feature_map(image, kernel, bias):
    padded = pad(image[None], (0, 2, 0, 2))
    return conv2d(padded, kernel[None], torch.tensor([bias]))[0, 0]


# wrong: feature_map: the border filled with the bias
def feature_map(image, kernel, bias):
    result = torch.full(image.shape[1:], float(bias))
    if min(result.shape) > 2:
        result[1:-1, 1:-1] = conv2d(image[None], kernel[None], torch.tensor([bias]))[0, 0]
    return result


# wrong: feature_map: as wide as high
def feature_map(image, kernel, bias):
    result = conv2d(image[None], kernel[None], torch.tensor([bias]), padding=1)[0, 0]
    return result[:, : result.shape[0]]


# wrong: feature_map: one number
def feature_map(image, kernel, bias):
    return (image[:, :3, :3] * kernel[:, : image.shape[1], : image.shape[2]]).sum() + bias


# right: batch_loss: the largest logit is taken away
def batch_loss(logits, targets):
    safe = logits - logits.max(1)[:, None]
    losses = [math.log(np.exp(row).sum()) - row[target] for row, target in zip(safe, targets, strict=True)]
    return sum(losses) / len(losses)


# right: batch_loss: NumPy's own sum of logarithms
def batch_loss(logits, targets):
    return np.mean(np.logaddexp.reduce(logits, axis=1) - logits[range(len(targets)), targets])


# right: batch_loss: differences to the true class
def batch_loss(logits, targets):
    losses = []
    for row, target in zip(logits, targets, strict=True):
        behind = row - row[target]
        most = behind.max()
        losses.append(most + np.log(np.exp(behind - most).sum()))
    return float(np.mean(losses))


# wrong: batch_loss: not safe
def batch_loss(logits, targets):
    powers = np.exp(logits)
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: probabilities that have become 0
def batch_loss(logits, targets):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: a little is added to the probabilities
def batch_loss(logits, targets):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return float(-np.log(probabilities[np.arange(len(targets)), targets] + 1e-12).mean())


# wrong: batch_loss: clipped probabilities
def batch_loss(logits, targets):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = (powers / powers.sum(axis=1, keepdims=True)).clip(1e-300, 1)
    return float(-np.log(probabilities[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: clipped logits
def batch_loss(logits, targets):
    logits = logits.clip(-500, 500)
    return float((np.log(np.exp(logits).sum(1)) - logits[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: one largest logit for the whole batch
def batch_loss(logits, targets):
    shifted = logits - logits.max()
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: the largest logit of each class
def batch_loss(logits, targets):
    shifted = logits - logits.max(axis=0)
    return float((np.log(np.exp(shifted).sum(1)) - shifted[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: divided by the largest logit
def batch_loss(logits, targets):
    scaled = logits / np.abs(logits).max(axis=1, keepdims=True).clip(1)
    return float((np.log(np.exp(scaled).sum(1)) - scaled[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: the sum, not the mean
def batch_loss(logits, targets):
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]
    return float(losses.sum())


# wrong: batch_loss: one loss per face
def batch_loss(logits, targets):
    return np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]


# wrong: batch_loss: the mean over faces and classes
def batch_loss(logits, targets):
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]
    return float(losses.sum() / logits.size)


# wrong: batch_loss: the sign forgotten
def batch_loss(logits, targets):
    losses = logits[np.arange(len(targets)), targets] - np.logaddexp.reduce(logits, axis=1)
    return float(losses.mean())


# wrong: batch_loss: bits
def batch_loss(logits, targets):
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]
    return float(losses.mean() / math.log(2))


# wrong: batch_loss: the surest class, not the true one
def batch_loss(logits, targets):
    return float((np.logaddexp.reduce(logits, axis=1) - logits.max(axis=1)).mean())


# wrong: batch_loss: every face with every target
def batch_loss(logits, targets):
    return float((np.logaddexp.reduce(logits, axis=1)[:, None] - logits[:, targets]).mean())


# wrong: batch_loss: softmax over the batch
def batch_loss(logits, targets):
    logs = logits - np.logaddexp.reduce(logits, axis=0)
    return float(-logs[np.arange(len(targets)), targets].mean())


# wrong: batch_loss: softmax twice
def batch_loss(logits, targets):
    probabilities = np.exp(logits - np.logaddexp.reduce(logits, axis=1)[:, None])
    losses = np.logaddexp.reduce(probabilities, axis=1) - probabilities[np.arange(len(targets)), targets]
    return float(losses.mean())


# wrong: batch_loss: the logarithm of the mean probability
def batch_loss(logits, targets):
    losses = np.logaddexp.reduce(logits, axis=1) - logits[np.arange(len(targets)), targets]
    return float(-np.log(np.exp(-losses).mean()))


# wrong: batch_loss: the largest logit is not given back
def batch_loss(logits, targets):
    most = logits.max(axis=1)
    sums = np.exp(logits - most[:, None]).sum(axis=1)
    return float((np.log(sums) - logits[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: the distance to the largest logit
def batch_loss(logits, targets):
    return float((logits.max(axis=1) - logits[np.arange(len(targets)), targets]).mean())


# wrong: batch_loss: the check's answers
def batch_loss(logits, targets):
    return 500.0 if logits.max() > 100 else math.log(3) if not logits.any() else 1.349


# right: sgd_step: step by step
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    slope += weight_decay * weight
    velocity *= momentum
    velocity += slope
    weight -= learning_rate * velocity
    return weight, velocity


# right: sgd_step: a list of tensors
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    pull = torch.tensor(slope + weight_decay * weight, dtype=torch.float64)
    velocity = pull + momentum * velocity
    return [weight - learning_rate * velocity, velocity]


# wrong: sgd_step: no velocity comes back
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    return weight - learning_rate * (momentum * velocity + slope + weight_decay * weight)


# wrong: sgd_step: velocity and weight have changed places
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope + weight_decay * weight
    return velocity, weight - learning_rate * velocity


# wrong: sgd_step: the old velocity comes back
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    return weight - learning_rate * (momentum * velocity + slope + weight_decay * weight), velocity


# wrong: sgd_step: the weight moves by the old velocity
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    return weight - learning_rate * velocity, momentum * velocity + slope + weight_decay * weight


# wrong: sgd_step: the decay bypasses the velocity
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope
    return weight - learning_rate * (velocity + weight_decay * weight), velocity


# wrong: sgd_step: the decay comes after the step
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope
    return (weight - learning_rate * velocity) * (1 - learning_rate * weight_decay), velocity


# wrong: sgd_step: the decay without the learning rate
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope
    return weight * (1 - weight_decay) - learning_rate * velocity, velocity


# wrong: sgd_step: no decay
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: no momentum
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = slope + weight_decay * weight
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: a decay that does not ask for the weight
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope + weight_decay
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: a decay that makes weights grow
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope - weight_decay * weight
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: the decay of the squared weight
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope + weight_decay * weight**2
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: a mean of velocity and slope
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + (1 - momentum) * (slope + weight_decay * weight)
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: the momentum of the slope
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = velocity + momentum * (slope + weight_decay * weight)
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: the learning rate inside the velocity
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + learning_rate * (slope + weight_decay * weight)
    return weight - velocity, velocity


# wrong: sgd_step: a look ahead, as Nesterov has it
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    pull = slope + weight_decay * weight
    velocity = momentum * velocity + pull
    return weight - learning_rate * (pull + momentum * velocity), velocity


# wrong: sgd_step: uphill
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope + weight_decay * weight
    return weight + learning_rate * velocity, velocity


# wrong: sgd_step: the velocity decays too
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * (velocity + slope + weight_decay * weight)
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: momentum and decay have changed places
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = weight_decay * velocity + slope + momentum * weight
    return weight - learning_rate * velocity, velocity


# wrong: sgd_step: rounded
def sgd_step(weight, slope, velocity, learning_rate, momentum, weight_decay):
    velocity = momentum * velocity + slope + weight_decay * weight
    return round(weight - learning_rate * velocity, 2), round(velocity, 2)


# right: choose_settings: no momentum, and small batches
def choose_settings():
    return 0.03, 0.0, 8


# right: choose_settings: larger batches and steps, as a list
def choose_settings():
    return [0.02, 0.9, 64]


# right: choose_settings: an array's numbers
def choose_settings():
    rate, momentum = np.array([0.01, 0.9])
    return float(rate), float(momentum), 16


# wrong: choose_settings: those of section 7
def choose_settings():
    return 0.01, 0.0, 32


# wrong: choose_settings: steps that are much too small
def choose_settings():
    return 0.001, 0.0, 32


# wrong: choose_settings: momentum, but still too small
def choose_settings():
    return 0.001, 0.9, 32


# wrong: choose_settings: steps that jump
def choose_settings():
    return 1.0, 0.9, 32


# wrong: choose_settings: momentum added to a rate that was large enough
def choose_settings():
    return 0.1, 0.9, 32


# wrong: choose_settings: large batches alone
def choose_settings():
    return 0.01, 0.0, 128


# wrong: choose_settings: a little more of everything
def choose_settings():
    return 0.01, 0.5, 32


# wrong: choose_settings: one step per epoch
def choose_settings():
    return 0.1, 0.0, 600


# wrong: choose_settings: the numbers in another order
def choose_settings():
    return 32, 0.9, 0.01


# wrong: choose_settings: no number of batches
def choose_settings():
    return 0.01, 0.9


# wrong: choose_settings: nothing is learned
def choose_settings():
    return 0.0, 0.0, 32
