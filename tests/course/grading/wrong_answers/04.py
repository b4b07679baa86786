"""Answers to the exercises of notebook 04: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import pandas as pd
import torch
from torch import nn


# right: count_runs: written out
def count_runs(grid):
    from itertools import product

    return len(list(product(*grid.values())))


# right: count_runs: NumPy
def count_runs(grid):
    return np.prod([len(values) for values in grid.values()])


# right: count_runs: a float
def count_runs(grid):
    runs = 1.0
    for name in grid:
        runs = runs * len(grid[name])
    return runs


# wrong: count_runs: a sum
def count_runs(grid):
    return sum(len(values) for values in grid.values())


# wrong: count_runs: settings
def count_runs(grid):
    return len(grid)


# wrong: count_runs: the values themselves
def count_runs(grid):
    runs = 1
    for values in grid.values():
        for value in values:
            runs *= value
    return runs


# wrong: count_runs: the first setting counts for all
def count_runs(grid):
    return len(next(iter(grid.values()))) ** len(grid)


# wrong: count_runs: the check's answers
def count_runs(grid):
    return 18 if len(grid) == 3 else 2


# wrong: count_runs: two settings at most
def count_runs(grid):
    first, *others = grid.values()
    return len(first) * (len(others[0]) if others else 1)


# wrong: count_runs: three settings, whatever there are
def count_runs(grid):
    sizes = [len(values) for values in grid.values()] + [1, 1]
    return sizes[0] * sizes[1] * sizes[2]


# wrong: count_runs: comes back too early
def count_runs(grid):
    runs = 1
    for values in grid.values():
        runs *= len(values)
        return runs


# wrong: count_runs: begins at 0
def count_runs(grid):
    runs = 0
    for values in grid.values():
        runs *= len(values)
    return runs


# wrong: count_runs: the longest
def count_runs(grid):
    return max(len(values) for values in grid.values())


# wrong: count_runs: the letters of the names
def count_runs(grid):
    runs = 1
    for values in grid:
        runs *= len(values)
    return runs


# right: best_row: sorted
def best_row(table, column):
    return dict(table.sort_values(column).iloc[0])


# right: best_row: records
def best_row(table, column):
    return min(table.to_dict("records"), key=lambda row: row[column])


# right: best_row: by place
def best_row(table, column):
    row = table.iloc[table[column].to_numpy().argmin()]
    return {name: float(row[name]) for name in table.columns}


# right: best_row: nsmallest
def best_row(table, column):
    return table.nsmallest(1, column).to_dict("records")[0]


# right: best_row: the table is sorted in place
def best_row(table, column):
    table.sort_values(column, inplace=True)
    table.reset_index(drop=True, inplace=True)
    return table.loc[0].to_dict()


# wrong: best_row: the lowest of every column, the report's slip
def best_row(table, column):
    return table.min().to_dict()


# wrong: best_row: the highest
def best_row(table, column):
    return table.loc[table[column].idxmax()].to_dict()


# wrong: best_row: an index taken for a place
def best_row(table, column):
    return table.iloc[table[column].idxmin()].to_dict()


# wrong: best_row: a place taken for an index
def best_row(table, column):
    return table.loc[table[column].argmin()].to_dict()


# wrong: best_row: always by the loss
def best_row(table, column):
    column = "loss" if "loss" in table else table.columns[-1]
    return table.loc[table[column].idxmin()].to_dict()


# wrong: best_row: a frame of one row
def best_row(table, column):
    return table[table[column] == table[column].min()].to_dict()


# wrong: best_row: the value alone
def best_row(table, column):
    return table[column].min()


# wrong: best_row: the column alone
def best_row(table, column):
    return {column: table[column].min()}


# wrong: best_row: where it is
def best_row(table, column):
    return table[column].idxmin()


# wrong: best_row: a row, but no dict
def best_row(table, column):
    return table.loc[table[column].idxmin()].tolist()


# wrong: best_row: the last row, as the report printed
def best_row(table, column):
    return table.iloc[-1].to_dict()


# wrong: best_row: the first row
def best_row(table, column):
    return table.iloc[0].to_dict()


# wrong: best_row: the first that is lower than the one before
def best_row(table, column):
    best = table.iloc[0]
    for _, row in table.iterrows():
        if row[column] < best[column]:
            return row.to_dict()
    return best.to_dict()


# wrong: best_row: the column is left out
def best_row(table, column):
    return table.loc[table[column].idxmin()].drop(column).to_dict()


# right: survivors: pairs
def survivors(losses, keep):
    pairs = sorted((loss, index) for index, loss in enumerate(losses) if not math.isnan(loss))
    return [index for _, index in pairs[:keep]]


# right: survivors: NumPy
def survivors(losses, keep):
    losses = np.asarray(losses)
    order = np.argsort(losses, kind="stable")
    return order[~np.isnan(losses[order])][:keep]


# right: survivors: pandas, and of equal losses the last first
def survivors(losses, keep):
    return pd.Series(losses).dropna()[::-1].sort_values(kind="stable")[:keep].index.tolist()


# right: survivors: one by one
def survivors(losses, keep):
    left, chosen = {i: loss for i, loss in enumerate(losses) if loss == loss}, []
    while left and len(chosen) < keep:
        chosen.append(min(left, key=left.get))
        del left[chosen[-1]]
    return tuple(chosen)


# wrong: survivors: equal losses are one run
def survivors(losses, keep):
    return [losses.index(loss) for loss in sorted(loss for loss in losses if loss == loss)[:keep]]


# wrong: survivors: equal losses are one run, by a dict
def survivors(losses, keep):
    places = {loss: index for index, loss in enumerate(losses) if loss == loss}
    return [places[loss] for loss in sorted(places)[:keep]]


# wrong: survivors: failed runs go on
def survivors(losses, keep):
    return sorted(range(len(losses)), key=lambda index: losses[index])[:keep]


# wrong: survivors: failed runs go on where too few are left
def survivors(losses, keep):
    return np.argsort(losses, kind="stable")[:keep].tolist()


# wrong: survivors: failed runs have the highest loss, and go on where too few are left
def survivors(losses, keep):
    finite = [loss if loss == loss else float("inf") for loss in losses]
    return sorted(range(len(losses)), key=lambda index: finite[index])[:keep]


# wrong: survivors: indices after the failed ones were taken out
def survivors(losses, keep):
    finished = [loss for loss in losses if loss == loss]
    return sorted(range(len(finished)), key=lambda index: finished[index])[:keep]


# wrong: survivors: losses
def survivors(losses, keep):
    return sorted(loss for loss in losses if loss == loss)[:keep]


# wrong: survivors: highest first
def survivors(losses, keep):
    finished = [index for index, loss in enumerate(losses) if loss == loss]
    return sorted(finished, key=lambda index: -losses[index])[:keep]


# wrong: survivors: in the order of the list
def survivors(losses, keep):
    finished = [index for index, loss in enumerate(losses) if loss == loss]
    return sorted(sorted(finished, key=lambda index: losses[index])[:keep])


# wrong: survivors: one too many
def survivors(losses, keep):
    finished = [index for index, loss in enumerate(losses) if loss == loss]
    return sorted(finished, key=lambda index: losses[index])[: keep + 1]


# wrong: survivors: all of them
def survivors(losses, keep):
    finished = [index for index, loss in enumerate(losses) if loss == loss]
    return sorted(finished, key=lambda index: losses[index])


# wrong: survivors: sorted without a key
def survivors(losses, keep):
    return [index for index, loss in enumerate(losses) if loss == loss][:keep]


# wrong: survivors: failed runs are cut after the others were chosen
def survivors(losses, keep):
    chosen = sorted(range(len(losses)), key=lambda index: losses[index])[:keep]
    return [index for index in chosen if losses[index] == losses[index]]


# right: train_network: four convolutions, shifted faces, momentum by Nesterov
def train_network(images, labels, seed):
    torch.manual_seed(seed)
    layers, channels = [], 3
    for width in (16, 24, 32, 40):
        layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
        layers.append(nn.MaxPool2d(2))
        channels = width
    network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * 4, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
    inputs = images.permute(0, 3, 1, 2).float() / 255
    for epoch in range(10):
        optimizer.param_groups[0]["lr"] = 0.05 * (1 - epoch / 10)
        for batch in torch.randperm(len(images)).split(16):
            shown = inputs[batch].flip(3) if torch.rand(1) < 0.5 else inputs[batch]
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(shown), labels[batch]).backward()
            optimizer.step()
    return network


# right: train_network: a class of its own that normalises
class Deep(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for width in (16, 24, 32, 40):
            layers += [nn.Conv2d(channels, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU()]
            layers.append(nn.MaxPool2d(2))
            channels = width
        self.features, self.linear = nn.Sequential(*layers), nn.Linear(channels * 4, 3)

    def forward(self, images):
        return self.linear(self.features((images - 0.5) / 0.25).flatten(1))


def train_network(images, labels, seed):
    torch.manual_seed(seed)
    network = Deep()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.05, total_steps=10 * -(-len(images) // 16))
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(16):
            shown = images[batch].permute(0, 3, 1, 2).float() / 255
            mirrored = torch.rand(len(batch)) < 0.5
            shown[mirrored] = shown[mirrored].flip(3)
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(shown), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return network


# wrong: train_network: the mini network at the grid's best setting
def train_network(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.001, momentum=0.95, weight_decay=1e-4)
    inputs = images.permute(0, 3, 1, 2).float() / 127.5 - 1
    network.insert(0, nn.BatchNorm2d(3))
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_network: the mini network at the learning rate beyond the edge
def train_network(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(32 * 8 * 8, 3)),
    )
    optimizer = torch.optim.SGD(network.parameters(), lr=0.004, momentum=0.95, weight_decay=1e-4)
    inputs = images.permute(0, 3, 1, 2).float() / 255
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_network: untrained
def train_network(images, labels, seed):
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(32, 3)
    )


# wrong: train_network: a network of which nothing comes back
def train_network(images, labels, seed):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01)
    for _ in range(10):
        optimizer.zero_grad()
        nn.functional.cross_entropy(network(images.permute(0, 3, 1, 2) / 255), labels).backward()
        optimizer.step()


# wrong: train_network: one linear layer
def train_network(images, labels, seed):
    torch.manual_seed(seed)
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9)
    inputs = images.permute(0, 3, 1, 2) / 255
    for _ in range(10):
        for batch in torch.randperm(len(images)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(inputs[batch]), labels[batch]).backward()
            optimizer.step()
    return network


# wrong: train_network: the commonest class
def train_network(images, labels, seed):
    network = nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
    with torch.no_grad():
        network[1].weight.zero_()
        network[1].bias.copy_(torch.bincount(labels, minlength=3))
    return network
