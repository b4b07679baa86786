"""The stored pictures of both apps: they are there, and what is to be seen stands in them and beside them."""

import re

import pytest
from PIL import Image

from elfw_course.app_pictures import HEIGHT, PICTURES, WIDTH
from elfw_helpers.utils.paths import project_folder


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_of_the_app_is_stored_and_described(name):
    example, alt = PICTURES[name]
    assert 40 < len(alt) <= 150 and alt.endswith(".")
    with Image.open(project_folder() / "figures" / f"app_{name}.png") as picture:
        assert picture.size == (WIDTH, HEIGHT)
        assert picture.info["Description"] == alt
        # Drawn, and not a page that was still empty.
        assert len(picture.convert("RGB").resize((64, 64)).getcolors(64 * 64)) > 200


@pytest.mark.parametrize("place", ["README.md", "notebooks/06_deployment.ipynb"])
def test_readers_who_do_not_see_a_picture_are_told_what_it_shows(place):
    text = (project_folder() / place).read_text(encoding="utf-8")
    shown = dict(re.findall(r"!\[([^\]]+)\]\((?:\.\./)?figures/app_(\w+)\.png\)", text))
    assert shown, f"{place} shows no picture of the apps"
    for alt, name in shown.items():
        assert PICTURES[name][1].rstrip(".") == alt
