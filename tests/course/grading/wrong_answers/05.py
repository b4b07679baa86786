"""Answers to the exercises of notebook 05: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import torch


def learn(images, labels, seed, epochs=20, rate=0.01, dropout=0.0, decay=0.0, change=None):
    """Train the exercise's network by SGD; where each batch is changed by `change`, at a rate that falls."""
    torch.manual_seed(seed)
    network = torch.nn.Sequential(
        torch.nn.BatchNorm2d(3),
        torch.nn.Conv2d(3, 16, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(16, 32, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Dropout(dropout),
        torch.nn.Linear(2048, 3),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=0.9, weight_decay=decay)
    for epoch in range(epochs):
        if change is not None:
            optimizer.param_groups[0]["lr"] = rate * (1 - epoch / epochs)
        for chosen in torch.randperm(len(images)).split(32):
            batch = images[chosen] if change is None else change(images[chosen])
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(network(batch), labels[chosen]).backward()
            optimizer.step()
    return network.eval()


def move(batch):
    """Mirror some faces of a batch, and move all."""
    batch = torch.where(torch.rand(len(batch), 1, 1, 1) < 0.5, batch.flip(3), batch)
    down, right = torch.randint(-2, 3, (2,)).tolist()
    return batch.roll((down, right), (2, 3))


def recolour(batch):
    """Mirror, move and recolour the faces of a batch."""
    batch = move(batch)
    return batch * (0.7 + 0.6 * torch.rand(len(batch), 1, 1, 1)) + 0.2 * torch.rand(len(batch), 3, 1, 1) - 0.1


# right: wilson: by counts, and a list
def wilson(correct, total, z=1.96):
    wrong, square = total - correct, z * z
    centre = correct + square / 2
    half = z * math.sqrt(correct * wrong / total + square / 4)
    return [(centre - half) / (total + square), (centre + half) / (total + square)]


# right: wilson: the roots of its equation
def wilson(correct, total, z=1.96):
    share, square = correct / total, z**2 / total
    return tuple(sorted(np.roots([1 + square, -(2 * share + square), share**2]).real))


# right: wilson: tensors, never beyond 0 and 1
def wilson(correct, total, z=1.96):
    share = torch.tensor(correct / total, dtype=torch.float64)
    margin = z * torch.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    middle = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    return torch.stack([middle - margin, middle + margin]).clamp(0, 1)


# wrong: wilson: the normal approximation
def wilson(correct, total, z=1.96):
    share = correct / total
    margin = z * (share * (1 - share) / total) ** 0.5
    return share - margin, share + margin


# wrong: wilson: always at 95 %
def wilson(correct, total, z=1.96):
    z, share = 1.96, correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    return (middle - margin) / (1 + z**2 / total), (middle + margin) / (1 + z**2 / total)


# wrong: wilson: not divided at the end
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    return middle - margin, middle + margin


# wrong: wilson: the second term of the root forgotten
def wilson(correct, total, z=1.96):
    share = correct / total
    middle, margin = share + z**2 / (2 * total), z * (share * (1 - share) / total) ** 0.5
    return (middle - margin) / (1 + z**2 / total), (middle + margin) / (1 + z**2 / total)


# wrong: wilson: the middle is not moved
def wilson(correct, total, z=1.96):
    share = correct / total
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5 / (1 + z**2 / total)
    return share - margin, share + margin


# wrong: wilson: 4 n where 4 n squared belongs
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total)) ** 0.5
    return (middle - margin) / (1 + z**2 / total), (middle + margin) / (1 + z**2 / total)


# wrong: wilson: z not squared
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z / (2 * total)
    margin = z * (share * (1 - share) / total + z / (4 * total**2)) ** 0.5
    return (middle - margin) / (1 + z / total), (middle + margin) / (1 + z / total)


# wrong: wilson: the root forgotten
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2))
    return (middle - margin) / (1 + z**2 / total), (middle + margin) / (1 + z**2 / total)


# wrong: wilson: Agresti and Coull
def wilson(correct, total, z=1.96):
    count = total + z**2
    share = (correct + z**2 / 2) / count
    margin = z * (share * (1 - share) / count) ** 0.5
    return share - margin, share + margin


# wrong: wilson: the high bound first
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    return (middle + margin) / (1 + z**2 / total), (middle - margin) / (1 + z**2 / total)


# wrong: wilson: middle and margin
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    return middle / (1 + z**2 / total), margin / (1 + z**2 / total)


# wrong: wilson: per cent
def wilson(correct, total, z=1.96):
    share = correct / total
    middle = share + z**2 / (2 * total)
    margin = z * (share * (1 - share) / total + z**2 / (4 * total**2)) ** 0.5
    return 100 * (middle - margin) / (1 + z**2 / total), 100 * (middle + margin) / (1 + z**2 / total)


# wrong: wilson: the course's function, which knows no z
def wilson(correct, total, z=1.96):
    from elfw_helpers.evaluation.classification import wilson_interval

    return wilson_interval(correct, total)


# right: balanced_accuracy: NumPy
def balanced_accuracy(matrix):
    support = matrix.sum(axis=1)
    shown = support > 0
    return (np.diag(matrix)[shown] / support[shown]).mean()


# right: balanced_accuracy: NaN left out
def balanced_accuracy(matrix):
    with np.errstate(invalid="ignore"):
        return np.nanmean(matrix.diagonal() / matrix.sum(1))


# right: balanced_accuracy: loops
def balanced_accuracy(matrix):
    total, classes = 0.0, 0
    for k, row in enumerate(matrix.tolist()):
        if any(row):
            total, classes = total + row[k] / sum(row), classes + 1
    return torch.tensor(total / classes, dtype=torch.float64)


# wrong: balanced_accuracy: accuracy
def balanced_accuracy(matrix):
    return np.trace(matrix) / matrix.sum()


# wrong: balanced_accuracy: precision
def balanced_accuracy(matrix):
    answered = matrix.sum(0)
    return (np.diag(matrix)[answered > 0] / answered[answered > 0]).mean()


# wrong: balanced_accuracy: a class without images has recall 0
def balanced_accuracy(matrix):
    return (np.diag(matrix) / np.maximum(matrix.sum(1), 1)).mean()


# wrong: balanced_accuracy: a class without images has recall 1
def balanced_accuracy(matrix):
    recalls = [row[k] / row.sum() if row.sum() else 1.0 for k, row in enumerate(matrix)]
    return sum(recalls) / len(recalls)


# wrong: balanced_accuracy: NaN where a class has no images
def balanced_accuracy(matrix):
    with np.errstate(invalid="ignore"):
        return (np.diag(matrix) / matrix.sum(1)).mean()


# wrong: balanced_accuracy: a class that is never answered is left out
def balanced_accuracy(matrix):
    recalls = [matrix[k][k] / matrix[k].sum() for k in range(len(matrix)) if matrix[k][k] > 0]
    return sum(recalls) / len(recalls)


# wrong: balanced_accuracy: left out by its answers, not by its images
def balanced_accuracy(matrix):
    with np.errstate(invalid="ignore"):
        recalls = (np.diag(matrix) / matrix.sum(1))[matrix.sum(0) > 0]
    return np.nan_to_num(recalls).mean()


# wrong: balanced_accuracy: a sum
def balanced_accuracy(matrix):
    return sum(matrix[k][k] / sum(matrix[k]) for k in range(len(matrix)) if sum(matrix[k]) > 0)


# wrong: balanced_accuracy: whole numbers
def balanced_accuracy(matrix):
    recalls = [matrix[k][k] // sum(matrix[k]) for k in range(len(matrix)) if sum(matrix[k]) > 0]
    return sum(recalls) / len(recalls)


# wrong: balanced_accuracy: the recalls
def balanced_accuracy(matrix):
    return [matrix[k][k] / sum(matrix[k]) for k in range(len(matrix)) if sum(matrix[k]) > 0]


# wrong: balanced_accuracy: weighted by images, which is accuracy again
def balanced_accuracy(matrix):
    support = matrix.sum(1)
    recalls = np.diag(matrix) / np.maximum(support, 1)
    return (recalls * support).sum() / support.sum()


# wrong: balanced_accuracy: two classes
def balanced_accuracy(matrix):
    recalls = [matrix[k][k] / sum(matrix[k]) for k in range(2) if sum(matrix[k]) > 0]
    return sum(recalls) / len(recalls)


# wrong: balanced_accuracy: the median
def balanced_accuracy(matrix):
    return np.median([matrix[k][k] / sum(matrix[k]) for k in range(len(matrix)) if sum(matrix[k]) > 0])


# right: most_doubted: gather
def most_doubted(probabilities, labels, count):
    belief = probabilities.gather(1, labels[:, None])[:, 0]
    return torch.sort(belief, stable=True).indices[:count]


# right: most_doubted: NumPy
def most_doubted(probabilities, labels, count):
    belief = probabilities.numpy()[np.arange(len(labels)), labels.numpy()]
    return np.argsort(belief, kind="stable")[:count]


# right: most_doubted: pairs
def most_doubted(probabilities, labels, count):
    pairs = sorted((probabilities[i, label].item(), i) for i, label in enumerate(labels.tolist()))
    return torch.tensor([index for _, index in pairs[:count]])


# wrong: most_doubted: the most believed first
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.argsort(descending=True, stable=True)[:count]


# wrong: most_doubted: the largest belief, whatever the label
def most_doubted(probabilities, labels, count):
    return probabilities.max(1).values.argsort(stable=True)[:count]


# wrong: most_doubted: mistakes, the surest first
def most_doubted(probabilities, labels, count):
    surest = probabilities.max(1)
    wrong = (surest.indices != labels).float()
    return (-wrong * surest.values).argsort(stable=True)[:count]


# wrong: most_doubted: beliefs
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.sort(stable=True).values[:count]


# wrong: most_doubted: of equal beliefs, any
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.flip(0).argsort(stable=True)[:count].neg() + len(labels) - 1


# wrong: most_doubted: every label
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.argsort(stable=True)


# wrong: most_doubted: one too many
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.argsort(stable=True)[: count + 1]


# wrong: most_doubted: in the order of the images
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.argsort(stable=True)[:count].sort().values


# wrong: most_doubted: a column a label, not a row
def most_doubted(probabilities, labels, count):
    return probabilities[:, labels].mean(1).argsort(stable=True)[:count]


# wrong: most_doubted: the smallest probability
def most_doubted(probabilities, labels, count):
    return probabilities.min(1).values.argsort(stable=True)[:count]


# wrong: most_doubted: the last ones
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.argsort(stable=True)[-count:]


# wrong: most_doubted: the check's number
def most_doubted(probabilities, labels, count):
    belief = probabilities[torch.arange(len(labels)), labels]
    return belief.argsort(stable=True)[:2]


# right: train_treated_network: mirrored and moved, dropout, weight decay
def train_treated_network(images, labels, seed=0):
    return learn(images, labels, seed, rate=0.02, dropout=0.2, decay=1e-3, change=move)


# right: train_treated_network: mirrored, moved and recoloured
def train_treated_network(images, labels, seed=0):
    return learn(images, labels, seed, rate=0.02, change=recolour)


# wrong: train_treated_network: untrained
def train_treated_network(images, labels, seed=0):
    return learn(images, labels, seed, epochs=0)


# wrong: train_treated_network: plain
def train_treated_network(images, labels, seed=0):
    return learn(images, labels, seed)


# wrong: train_treated_network: weight decay alone
def train_treated_network(images, labels, seed=0):
    return learn(images, labels, seed, decay=0.01)


# wrong: train_treated_network: always hair
def train_treated_network(images, labels, seed=0):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 3))
    torch.nn.init.zeros_(network[1].weight)
    network[1].bias.data = torch.tensor([1.0, 0.0, 0.0])
    return network.eval()


# wrong: train_treated_network: too large a network
def train_treated_network(images, labels, seed=0):
    torch.manual_seed(seed)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 64), torch.nn.Linear(64, 3))
    return network.eval()
