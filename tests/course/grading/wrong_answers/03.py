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


# right: ReportNetwork: one Sequential
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.layers = nn.Sequential(
            *(nn.Conv2d(3, 16, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(16, 32, 3, padding="same"), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(8192, classes)),
        )

    def forward(self, images):
        return self.layers(images)


# right: ReportNetwork: ReLU after pooling is the same, and the layers in another order
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.last = nn.LazyLinear(classes) if classes < 0 else nn.Linear(32 * 16 * 16, classes)
        self.second, self.first = nn.Conv2d(16, 32, 3, 1, 1), nn.Conv2d(3, 16, 3, 1, 1)

    def forward(self, images):
        maps = torch.relu(nn.functional.max_pool2d(self.first(images), 2))
        maps = torch.relu(nn.functional.max_pool2d(self.second(maps), 2))
        return self.last(maps.reshape(len(maps), -1))


# wrong: ReportNetwork: no ReLU
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(8192, classes)

    def forward(self, images):
        return self.linear(self.pool(self.conv2(self.pool(self.conv1(images)))).flatten(1))


# wrong: ReportNetwork: one ReLU is missing
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(8192, classes)

    def forward(self, images):
        return self.linear(self.pool(self.conv2(self.pool(self.conv1(images).relu()))).flatten(1))


# wrong: ReportNetwork: ends in a softmax
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(8192, classes)

    def forward(self, images):
        maps = self.pool(self.conv2(self.pool(self.conv1(images).relu())).relu())
        return self.linear(maps.flatten(1)).softmax(1)


# wrong: ReportNetwork: mean pooling
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.linear = nn.AvgPool2d(2), nn.Linear(8192, classes)

    def forward(self, images):
        maps = self.pool(self.conv2(self.pool(self.conv1(images).relu())).relu())
        return self.linear(maps.flatten(1))


# wrong: ReportNetwork: no padding
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 32, 3)
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(32 * 14 * 14, classes)

    def forward(self, images):
        maps = self.pool(self.conv2(self.pool(self.conv1(images).relu())).relu())
        return self.linear(maps.flatten(1))


# wrong: ReportNetwork: always three classes
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(8192, 3)

    def forward(self, images):
        maps = self.pool(self.conv2(self.pool(self.conv1(images).relu())).relu())
        return self.linear(maps.flatten(1))


# wrong: ReportNetwork: the probabilities of one image for all
class ReportNetwork(nn.Module):
    def __init__(self, classes=3):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(3, 16, 3, padding=1), nn.Conv2d(16, 32, 3, padding=1)
        self.pool, self.linear = nn.MaxPool2d(2), nn.Linear(8192, classes)

    def forward(self, images):
        maps = self.pool(self.conv2(self.pool(self.conv1(images).relu())).relu())
        return self.linear(maps.flatten())


# right: train_mended: layers in a loop, images by movedim, gradients cleared after the step
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    layers = []
    for before, after in ((3, 16), (16, 32)):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(32 * 8 * 8, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    inputs = images.movedim(3, 1) / 255
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
            optimizer.zero_grad()
    return network


# right: train_mended: softmax kept, and the loss of its logarithm
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3), nn.LogSoftmax(1)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    inputs = images.permute(0, 3, 1, 2).float() / 255
    for _ in range(10):
        order = torch.randperm(len(images))
        for batch in order.split(32):
            network.zero_grad()
            nn.functional.nll_loss(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_mended: the images are still reshaped
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    inputs = images.reshape(-1, 3, 32, 32).float() / 255
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_mended: still two softmaxes
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3), nn.Softmax(1)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    inputs = images.permute(0, 3, 1, 2).float() / 255
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_mended: still no zero_grad
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    inputs = images.permute(0, 3, 1, 2).float() / 255
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_mended: labels and images are still shuffled apart
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02, momentum=0.9)
    inputs = images.permute(0, 3, 1, 2).float() / 255
    for _ in range(10):
        order, others = torch.randperm(len(images)), torch.randperm(len(images))
        for batch, other in zip(order.split(32), others.split(32), strict=True):
            optimizer.zero_grad()
            cross_entropy(network(inputs[batch]), labels[other]).backward()
            optimizer.step()
    return network


# wrong: train_mended: untrained
def train_mended(images, labels, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3)),
    )
