"""The look that all figures share."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

# Okabe and Ito's colours, told apart with any common colour blindness: blue, orange, green, vermilion,
# reddish purple.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")
# ELFW's palette is for masks only: its pure colours shout, and two of them look alike to a protanope.
sns.set_theme(style="whitegrid", palette=COLOURS, rc={"figure.dpi": 100, "axes.titleweight": "bold"})


def draw_words(text: str) -> Figure:
    """Draw words where a figure has nothing to show."""
    figure, axes = plt.subplots(figsize=(5, 1.2))
    axes.text(0.5, 0.5, text, ha="center", va="center")
    axes.set_axis_off()
    return figure


def words_if_empty(text: str) -> Callable[[Callable[..., Figure]], Callable[..., Figure]]:
    """Return a decorator: a figure whose first argument is empty, however long it may be, is these words."""

    def decorate(draw: Callable[..., Figure]) -> Callable[..., Figure]:
        @wraps(draw)
        def draw_or_say(*arguments: Any, **options: Any) -> Figure:
            shown, *_ = signature(draw).bind(*arguments, **options).arguments.values()
            return draw(*arguments, **options) if len(shown) else draw_words(text)

        return draw_or_say

    return decorate


def error_lengths(values: ArrayLike, low: ArrayLike, high: ArrayLike) -> np.ndarray:
    """Return how far intervals reach below and above their values, [2, N], for matplotlib's error bars.

    None is negative, which matplotlib refuses: an end that equals its value may lie beside it by rounding.
    """
    values, low, high = (np.asarray(numbers, dtype=float) for numbers in (values, low, high))
    return np.clip(np.stack([values - low, high - values]), 0, None)
