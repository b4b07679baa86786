"""Ingredients change their own parts of a face, the same in every call, and none comes unasked."""

from dataclasses import fields

import numpy as np
import pytest

from elfw_helpers.data.labels import WEARABLE
from elfw_helpers.rendering import render_face, render_folder
from elfw_helpers.rendering.ingredients import INGREDIENTS
from elfw_helpers.rendering.manifest import read_manifest, read_parameters
from elfw_helpers.rendering.parameters import MORE_HEADWEAR_KINDS
from elfw_helpers.rendering.random_parameters import sample_parameters
from elfw_helpers.utils.errors import DataError

# The parts of a face that each ingredient may change.
CHANGED = {
    "headwear": {"headwear"},
    "background": {"background"},
    "hair": {"hair", "identity"},
}


@pytest.mark.parametrize("name", INGREDIENTS)
def test_an_ingredient_changes_its_own_parts_alone(name):
    changed = set()
    for seed in range(60):
        before, after = sample_parameters(seed, seed), sample_parameters(seed, seed, ingredients=(name,))
        assert after == sample_parameters(seed, seed, ingredients=(name,))
        parts = [part.name for part in fields(before)]
        changed |= {part for part in parts if getattr(before, part) != getattr(after, part)}
    assert changed == CHANGED[name]


def test_an_ingredient_is_the_same_beside_others():
    alone = sample_parameters(3, 3, "cap", ("headwear",)).headwear
    assert sample_parameters(3, 3, "cap", tuple(INGREDIENTS)).headwear == alone


def test_people_keep_the_colour_of_their_hair():
    people = [[sample_parameters(seed, one, None, ("hair",)) for seed in (1, 2)] for one in range(40)]
    assert all(first.identity == second.identity for first, second in people)
    assert any(first.identity != sample_parameters(1, one).identity for one, (first, _) in enumerate(people))


def test_new_headwear_is_drawn_and_seen():
    worn = [sample_parameters(seed, seed, "cap", ("headwear",)).headwear for seed in range(200)]
    assert {one.kind for one in worn if one} >= set(MORE_HEADWEAR_KINDS)
    masks = [render_face(seed, 48, None, "cap", tuple(INGREDIENTS)).mask for seed in range(6)]
    assert np.mean([(mask == WEARABLE).mean() for mask in masks]) > 0.05


def test_a_folder_says_which_ingredients_it_has(tmp_path):
    settings = {"count": 8, "seed": 2, "size": 32, "workers": 1, "progress": False}
    root = render_folder(tmp_path / "varied", **settings, ingredients=("headwear", "hair"))
    assert read_manifest(root)["ingredients"] == ["headwear", "hair"]
    for name, entry in read_manifest(root)["faces"].items():
        seeds = entry["seed"], entry["identity_seed"], entry["attribute"]
        assert read_parameters(root)[name] == sample_parameters(*seeds, ("headwear", "hair"))
    render_folder(root, **settings, ingredients=("headwear", "hair"))
    with pytest.raises(DataError, match="ingredients"):
        render_folder(root, **settings)
    assert "ingredients" not in read_manifest(render_folder(tmp_path / "plain", **settings))


def test_an_unknown_ingredient_is_named(tmp_path):
    with pytest.raises(ValueError, match="an ingredient is one of headwear, .*, not 'salt'"):
        render_face(1, 32, ingredients=("salt",))
    with pytest.raises(ValueError, match="'salt'"):
        render_folder(tmp_path / "set", 8, ingredients=("salt",), progress=False)
    assert not (tmp_path / "set").exists()
