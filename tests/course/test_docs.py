"""README and docs/ lead to what is there: every notebook has its row and its badge, and no link is dead."""

import re

import pytest

from elfw_course.student import list_notebooks, read_repository
from elfw_helpers.utils.paths import project_folder

TEXTS = ("README.md", "docs/instructors.md", "docs/maintainers.md")


def test_readme_has_a_row_with_both_times_and_a_badge_for_every_notebook():
    text = (project_folder() / "README.md").read_text(encoding="utf-8")
    for path in list_notebooks(project_folder() / "notebooks"):
        number = path.stem[:2]
        row = (
            rf"\| \[{number} [^|]+\]\(notebooks/{path.name}\) \|([^|]+\|){{2}} [^|]+ min \| .*\[{number}\] \|"
        )
        assert re.search(row, text), path.name
        address = f"https://colab.research.google.com/github/{read_repository(project_folder())}"
        assert f"[{number}]: {address}/blob/main/notebooks/{path.name}\n" in text


def test_readme_is_short():
    assert (project_folder() / "README.md").read_text(encoding="utf-8").count("\n") <= 170


@pytest.mark.parametrize("name", TEXTS)
def test_no_link_is_dead_and_every_picture_is_described(name):
    file = project_folder() / name
    text = file.read_text(encoding="utf-8")
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", text)
    inside = [target for target in targets if "://" not in target]
    assert inside
    assert [target for target in inside if not (file.parent / target).exists()] == []
    assert "![](" not in text
