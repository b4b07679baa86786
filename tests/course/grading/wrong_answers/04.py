"""Answers to the exercises of notebook 04: the right ones get all points, the wrong ones at most a third."""

import math

import numpy as np
import pandas as pd


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
