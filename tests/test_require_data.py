"""A lesson that finds nothing to show says so, and passes over the cells below."""

import pytest
from IPython.core.interactiveshell import InteractiveShell

from elfw_helpers.notebook import require_data
from elfw_helpers.utils.errors import ElfwError


@pytest.fixture
def shell(monkeypatch):
    """An IPython of its own, which `get_ipython` finds."""
    shell = InteractiveShell()
    monkeypatch.setattr("IPython.get_ipython", lambda: shell)
    return shell


def test_cells_below_are_passed_over_with_a_word(shell, capsys, monkeypatch):
    monkeypatch.setenv("ELFW_DATA", "faces of mine")
    require_data(False, "masks: a file in labels/")
    said = capsys.readouterr().out
    assert "faces of mine has nothing to show here. This lesson needs masks: a file in labels/." in said
    for cell in ("touched = 1 / 0", "%no_such_magic", "def f():\n    return"):
        shell.run_cell(cell).raise_error()
        assert capsys.readouterr().out == "Passed over: needs masks: a file in labels/\n"
    assert "touched" not in shell.user_ns


def test_where_the_data_are_there_nothing_is_said_and_cells_run(shell, capsys):
    require_data(True, "masks")
    shell.run_cell("touched = 1").raise_error()
    assert shell.user_ns["touched"] == 1 and capsys.readouterr().out == ""


def test_outside_a_notebook_it_is_an_error(monkeypatch):
    monkeypatch.setattr("IPython.get_ipython", lambda: None)
    with pytest.raises(ElfwError, match="needs masks"):
        require_data(False, "masks")
