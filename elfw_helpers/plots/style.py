"""The look that all figures share, and where they are saved."""

from __future__ import annotations

import seaborn as sns
from matplotlib.figure import Figure

from elfw_helpers.paths import figure_folder

# Okabe and Ito's colours, told apart with any common colour blindness: blue, orange, green, vermilion,
# reddish purple.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7")
# ELFW's palette is for masks only: its pure colours shout, and two of them look alike to a protanope.
sns.set_theme(style="whitegrid", palette=COLOURS, rc={"figure.dpi": 100, "axes.titleweight": "bold"})


def save_figure(figure: Figure, name: str) -> Figure:
    """Save a figure as `<build>/figures/NAME.png`, wide enough for a slide, and return it.

    Args:
        figure: any figure of this module.
        name: begins with its notebook's number, such as `05_confusion_matrix`.
    """
    figure.savefig(figure_folder() / f"{name}.png", dpi=160, bbox_inches="tight")
    return figure
