"""What a lesson does on a folder that has nothing to show for it."""

from __future__ import annotations

import sys

from elfw_helpers.errors import ElfwError
from elfw_helpers.paths import data_folder


def require_data(found: bool, needed: str) -> None:
    """Go on where a lesson finds what it needs; else say what is missing, and pass over the cells below.

    For the end of a cell, because what follows in the same cell is executed all the same.

    Args:
        found: whether the folder has it.
        needed: by the lesson, for the reader: "masks: a file in labels/ for each photo".

    Raises:
        ElfwError: it is not found, and there are no cells: nobody is inside IPython.
    """
    if found:
        return
    words = f"{data_folder().name} has nothing to show here. This lesson needs {needed}."
    # Nobody can be inside IPython before it was imported.
    ipython = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if ipython is None:
        raise ElfwError(words)
    print(words)
    print("The cells below are passed over. Set ELFW_DATA to another folder, and restart the kernel.")
    ipython.input_transformers_cleanup.append(lambda _: [f"print({'Passed over: needs ' + needed!r})\n"])
