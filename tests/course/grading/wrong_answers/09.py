"""Answers to the exercises of notebook 09: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import torch


# right: benjamini_hochberg: with NumPy, an array
def benjamini_hochberg(p_values):
    p = np.asarray(p_values, float)
    order = np.argsort(p)
    scaled = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return adjusted


# right: benjamini_hochberg: by SciPy
def benjamini_hochberg(p_values):
    from scipy.stats import false_discovery_control

    return false_discovery_control(p_values).tolist()


# wrong: benjamini_hochberg: Holm's
def benjamini_hochberg(p_values):
    order = sorted(range(len(p_values)), key=lambda place: p_values[place])
    adjusted, largest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, (len(p_values) - rank) * p_values[place])
        adjusted[place] = min(1.0, largest)
    return adjusted


# wrong: benjamini_hochberg: Bonferroni's
def benjamini_hochberg(p_values):
    return [min(1.0, p * len(p_values)) for p in p_values]


# wrong: benjamini_hochberg: the running minimum forgotten
def benjamini_hochberg(p_values):
    count = len(p_values)
    ranks = {place: rank for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__), 1)}
    return [min(1.0, p * count / ranks[place]) for place, p in enumerate(p_values)]


# wrong: benjamini_hochberg: a running maximum from the smallest
def benjamini_hochberg(p_values):
    count, largest, adjusted = len(p_values), 0.0, [0.0] * len(p_values)
    for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__), 1):
        largest = max(largest, p_values[place] * count / rank)
        adjusted[place] = min(1.0, largest)
    return adjusted


# wrong: benjamini_hochberg: in ascending order, not in that of the question
def benjamini_hochberg(p_values):
    p = np.sort(np.asarray(p_values, float))
    return np.minimum.accumulate((p * len(p) / np.arange(1, len(p) + 1))[::-1])[::-1].tolist()


# wrong: benjamini_hochberg: as they were given
def benjamini_hochberg(p_values):
    return list(p_values)


# right: paired_difference: from the differences, one by one
def paired_difference(first_right, second_right):
    change = np.asarray(first_right, float) - np.asarray(second_right, float)
    error = change.std() / math.sqrt(len(change))
    return [change.mean(), change.mean() - 1.96 * error, change.mean() + 1.96 * error]


# right: paired_difference: by counts, tensors
def paired_difference(first_right, second_right):
    first, second = torch.as_tensor(first_right).float(), torch.as_tensor(second_right).float()
    d, discordant = (first - second).mean(), (first != second).float().mean()
    error = ((discordant - d**2) / len(first)).sqrt()
    return torch.stack([d, d - 1.96 * error, d + 1.96 * error])


# wrong: paired_difference: as if of different images
def paired_difference(first_right, second_right):
    a, b, n = np.mean(first_right), np.mean(second_right), len(first_right)
    error = math.sqrt(a * (1 - a) / n + b * (1 - b) / n)
    return a - b, a - b - 1.96 * error, a - b + 1.96 * error


# wrong: paired_difference: second minus first
def paired_difference(first_right, second_right):
    change = np.asarray(second_right, float) - np.asarray(first_right, float)
    error = change.std() / math.sqrt(len(change))
    return change.mean(), change.mean() - 1.96 * error, change.mean() + 1.96 * error


# wrong: paired_difference: the square forgotten
def paired_difference(first_right, second_right):
    n = len(first_right)
    b, c = (first_right & ~second_right).sum(), (second_right & ~first_right).sum()
    error = math.sqrt(b + c) / n
    return (b - c) / n, (b - c) / n - 1.96 * error, (b - c) / n + 1.96 * error


# wrong: paired_difference: one standard error
def paired_difference(first_right, second_right):
    change = np.asarray(first_right, float) - np.asarray(second_right, float)
    error = change.std() / math.sqrt(len(change))
    return change.mean(), change.mean() - error, change.mean() + error


# wrong: paired_difference: divided by the images that differ
def paired_difference(first_right, second_right):
    b, c = (first_right & ~second_right).sum(), (second_right & ~first_right).sum()
    n = max(b + c, 1)
    error = math.sqrt(b + c - (b - c) ** 2 / n) / n
    return (b - c) / n, (b - c) / n - 1.96 * error, (b - c) / n + 1.96 * error


# right: worst_group: with pandas
def worst_group(right, groups, least=10):
    import pandas as pd

    table = pd.DataFrame({"right": right, "group": groups}).groupby("group")["right"].agg(["mean", "size"])
    table = table[table["size"] >= least].reset_index()
    if table.empty:
        return None, float("nan")
    first = table.sort_values(["mean", "size", "group"], ascending=[True, False, True]).iloc[0]
    return first["group"], first["mean"]


# right: worst_group: one group after the other
def worst_group(right, groups, least=10):
    worst, accuracy, largest = None, float("nan"), 0
    for name in sorted(set(groups)):
        inside = [r for r, g in zip(right, groups) if g == name]
        share = sum(inside) / len(inside)
        if len(inside) < least:
            continue
        if worst is None or share < accuracy or (share == accuracy and len(inside) > largest):
            worst, accuracy, largest = name, share, len(inside)
    return worst, accuracy


# wrong: worst_group: small groups too
def worst_group(right, groups, least=10):
    shares = {name: np.mean([r for r, g in zip(right, groups) if g == name]) for name in sorted(set(groups))}
    name = min(shares, key=shares.get)
    return name, float(shares[name])


# wrong: worst_group: the best
def worst_group(right, groups, least=10):
    rows = []
    for name in sorted(set(groups)):
        inside = [r for r, g in zip(right, groups) if g == name]
        if len(inside) >= least:
            rows.append((sum(inside) / len(inside), name))
    return (max(rows)[1], max(rows)[0]) if rows else (None, float("nan"))


# wrong: worst_group: of the most mistakes, not of the largest share
def worst_group(right, groups, least=10):
    rows = []
    for name in sorted(set(groups)):
        inside = [r for r, g in zip(right, groups) if g == name]
        if len(inside) >= least:
            rows.append((sum(inside) - len(inside), name, sum(inside) / len(inside)))
    return min(rows)[1:] if rows else (None, float("nan"))


# wrong: worst_group: more than `least` images
def worst_group(right, groups, least=10):
    rows = []
    for name in sorted(set(groups)):
        inside = [r for r, g in zip(right, groups) if g == name]
        if len(inside) > least:
            rows.append((sum(inside) / len(inside), -len(inside), name))
    return (min(rows)[2], min(rows)[0]) if rows else (None, 0.0)


# wrong: worst_group: ties by name alone, and no word for none
def worst_group(right, groups, least=10):
    rows = []
    for name in sorted(set(groups)):
        inside = [r for r, g in zip(right, groups) if g == name]
        if len(inside) >= least:
            rows.append((sum(inside) / len(inside), name))
    return min(rows)[1], min(rows)[0]


# right: name_attributes: two thresholds, chosen for the mean recall
def name_attributes(logits, labels, new_logits):
    probabilities, new = torch.as_tensor(logits).softmax(1), torch.as_tensor(new_logits).softmax(1)
    labels = torch.as_tensor(labels)

    def worn(p, share):
        return torch.where(p[:, 0] < 1 - share, 1 + p[:, 1:].argmax(1), 0)

    def balanced(share):
        given = worn(probabilities, share)
        return sum(float((given[labels == k] == k).float().mean()) for k in range(3))

    best = max((0.05, 0.08, 0.1, 0.12, 0.15), key=balanced)
    return worn(new, best)


# right: name_attributes: a linear layer, by gradient descent on a weighted loss
def name_attributes(logits, labels, new_logits):
    torch.manual_seed(0)
    logits, labels = torch.as_tensor(logits), torch.as_tensor(labels)
    layer = torch.nn.Linear(3, 3)
    weights = 1 / torch.bincount(labels, minlength=3).float()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(layer(logits), labels, weight=weights).backward()
        optimizer.step()
    return layer(torch.as_tensor(new_logits)).argmax(1)


# wrong: name_attributes: the largest logit
def name_attributes(logits, labels, new_logits):
    return torch.as_tensor(new_logits).argmax(1)


# wrong: name_attributes: the threshold of section 5
def name_attributes(logits, labels, new_logits):
    sure = torch.as_tensor(new_logits).softmax(1)
    return torch.where(sure[:, 2] > 0.2, 2, sure.argmax(1))


# wrong: name_attributes: the commonest attribute
def name_attributes(logits, labels, new_logits):
    return torch.zeros(len(new_logits), dtype=torch.int64)


# wrong: name_attributes: the weights turned round
def name_attributes(logits, labels, new_logits):
    share = torch.bincount(torch.as_tensor(labels), minlength=3) / len(labels)
    return (torch.as_tensor(new_logits) + share.log()).argmax(1)


# wrong: name_attributes: a linear model that knows nothing of how common they are
def name_attributes(logits, labels, new_logits):
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(max_iter=500).fit(np.asarray(logits), np.asarray(labels))
    return model.predict(np.asarray(new_logits))
