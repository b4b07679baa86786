"""Answers to the exercises of notebook 03: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy


# right: conv_output_size: floor
def conv_output_size(size, kernel_size, stride, padding):
    return math.floor((size - kernel_size + 2 * padding) / stride) + 1


# right: conv_output_size: counted
def conv_output_size(size, kernel_size, stride, padding):
    return len(range(-padding, size + padding - kernel_size + 1, stride))


# right: conv_output_size: tried
def conv_output_size(size, kernel_size, stride, padding):
    layer = nn.Conv1d(1, 1, kernel_size, stride, padding)
    return layer(torch.zeros(1, 1, size)).shape[-1]


# wrong: conv_output_size: the stride alone
def conv_output_size(size, kernel_size, stride, padding):
    return size // stride


# wrong: conv_output_size: one too few
def conv_output_size(size, kernel_size, stride, padding):
    return (size + 2 * padding - kernel_size) // stride


# wrong: conv_output_size: padding on one side
def conv_output_size(size, kernel_size, stride, padding):
    return (size + padding - kernel_size) // stride + 1


# wrong: conv_output_size: no padding
def conv_output_size(size, kernel_size, stride, padding):
    return (size - kernel_size) // stride + 1


# wrong: conv_output_size: floats
def conv_output_size(size, kernel_size, stride, padding):
    return (size + 2 * padding - kernel_size) / stride + 1


# wrong: conv_output_size: a float, if a whole one
def conv_output_size(size, kernel_size, stride, padding):
    return np.floor((size + 2 * padding - kernel_size) / stride + 1)


# wrong: conv_output_size: rounded up
def conv_output_size(size, kernel_size, stride, padding):
    return math.ceil((size + 2 * padding - kernel_size) / stride) + 1


# wrong: conv_output_size: rounded up, as padding="same" has it
def conv_output_size(size, kernel_size, stride, padding):
    return math.ceil(size / stride)


# wrong: conv_output_size: rounded
def conv_output_size(size, kernel_size, stride, padding):
    return round((size + 2 * padding - kernel_size) / stride + 1)


# wrong: conv_output_size: the 1 is divided too
def conv_output_size(size, kernel_size, stride, padding):
    return (size + 2 * padding - kernel_size + 1) // stride


# wrong: conv_output_size: the stride forgotten
def conv_output_size(size, kernel_size, stride, padding):
    return size + 2 * padding - kernel_size + 1


# wrong: conv_output_size: divided before the rest
def conv_output_size(size, kernel_size, stride, padding):
    return size + 2 * padding - kernel_size // stride + 1


# wrong: conv_output_size: stride and padding have changed places
def conv_output_size(size, kernel_size, padding, stride):
    return (size + 2 * padding - kernel_size) // max(stride, 1) + 1


# wrong: conv_output_size: the check's answers
def conv_output_size(size, kernel_size, stride, padding):
    return {64: {1: 64, 2: 32}, 224: {2: 112}}.get(size, {}).get(stride, size)


# right: probability_from_loss: a power
def probability_from_loss(loss):
    return math.e**-loss


# right: probability_from_loss: NumPy
def probability_from_loss(loss):
    return 1 / np.exp(loss)


# right: probability_from_loss: a tensor
def probability_from_loss(loss):
    return torch.exp(torch.tensor(-loss, dtype=torch.float64)).item()


# wrong: probability_from_loss: the sign forgotten
def probability_from_loss(loss):
    return math.exp(loss)


# wrong: probability_from_loss: bits
def probability_from_loss(loss):
    return 2**-loss


# wrong: probability_from_loss: base 10
def probability_from_loss(loss):
    return 10**-loss


# wrong: probability_from_loss: a straight line
def probability_from_loss(loss):
    return max(0.0, 1 - loss)


# wrong: probability_from_loss: a reciprocal
def probability_from_loss(loss):
    return 1 / (1 + loss)


# wrong: probability_from_loss: the logarithm once more
def probability_from_loss(loss):
    return -math.log(loss) if loss else 1.0


# wrong: probability_from_loss: sigmoid
def probability_from_loss(loss):
    return 1 / (1 + math.exp(loss))


# wrong: probability_from_loss: of any other class
def probability_from_loss(loss):
    return 1 - math.exp(-loss)


# wrong: probability_from_loss: rounded
def probability_from_loss(loss):
    return round(math.exp(-loss), 3)


# wrong: probability_from_loss: per cent
def probability_from_loss(loss):
    return 100 * math.exp(-loss)


# wrong: probability_from_loss: the check's answers
def probability_from_loss(loss):
    return 1.0 if loss == 0 else 1 / 3


# wrong: probability_from_loss: printed
def probability_from_loss(loss):
    print(math.exp(-loss))


# right: training_step: gradients of the network, and a training mode
def training_step(network, optimizer, images, targets):
    network.train()
    network.zero_grad()
    logits = network(images)
    loss = nn.CrossEntropyLoss()(logits, targets)
    loss.backward()
    optimizer.step()
    return float(loss)


# right: training_step: cleared after the step, and a tensor
def training_step(network, optimizer, images, targets):
    loss = nn.functional.nll_loss(network(images).log_softmax(1), targets)
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.detach()


# right: training_step: cleared just before backward
def training_step(network, optimizer, images, targets):
    loss = cross_entropy(network(images), targets, reduction="mean")
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    optimizer.step()
    return loss.tolist()


# wrong: training_step: old gradients pile up
def training_step(network, optimizer, images, targets):
    loss = cross_entropy(network(images), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


# wrong: training_step: no step
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = cross_entropy(network(images), targets)
    loss.backward()
    return loss.item()


# wrong: training_step: gradients cleared before they are used
def training_step(network, optimizer, images, targets):
    loss = cross_entropy(network(images), targets)
    loss.backward()
    optimizer.zero_grad(set_to_none=False)
    optimizer.step()
    return loss.item()


# wrong: training_step: the step before the gradients
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad(set_to_none=False)
    loss = cross_entropy(network(images), targets)
    if network[0].weight.grad is not None:
        optimizer.step()
    loss.backward()
    return loss.item()


# wrong: training_step: the loss after the step
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    cross_entropy(network(images), targets).backward()
    optimizer.step()
    return cross_entropy(network(images), targets).item()


# wrong: training_step: nothing comes back
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = cross_entropy(network(images), targets)
    loss.backward()
    optimizer.step()


# wrong: training_step: the sum, not the mean
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = cross_entropy(network(images), targets, reduction="sum")
    loss.backward()
    optimizer.step()
    return loss.item()


# wrong: training_step: softmax twice
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = cross_entropy(network(images).softmax(1), targets)
    loss.backward()
    optimizer.step()
    return loss.item()


# wrong: training_step: two steps
def training_step(network, optimizer, images, targets):
    for _ in range(2):
        optimizer.zero_grad()
        loss = cross_entropy(network(images), targets)
        loss.backward()
        optimizer.step()
    return loss.item()


# wrong: training_step: the first image alone
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = cross_entropy(network(images[:1]), targets[:1])
    loss.backward()
    optimizer.step()
    return loss.item()


# wrong: training_step: the loss alone
def training_step(network, optimizer, images, targets):
    with torch.no_grad():
        return cross_entropy(network(images), targets).item()


# wrong: training_step: the logits come back
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    logits = network(images)
    cross_entropy(logits, targets).backward()
    optimizer.step()
    return logits


# wrong: training_step: the squared error
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = nn.functional.mse_loss(network(images), nn.functional.one_hot(targets, 3).float())
    loss.backward()
    optimizer.step()
    return loss.item()


# wrong: training_step: uphill
def training_step(network, optimizer, images, targets):
    optimizer.zero_grad()
    loss = -cross_entropy(network(images), targets)
    loss.backward()
    optimizer.step()
    return -loss.item()
