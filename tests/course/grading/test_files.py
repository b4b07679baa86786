"""What is read before anything runs: submissions as files, where their exercises are, and answer keys."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from elfw_course.grading.exercises import Names, Released, list_own_cells, plan_submission
from elfw_course.grading.inside.runner import read_names
from elfw_course.grading.key import find_key, read_key
from elfw_course.grading.submission import Cell, Unreadable, parse_notebook, read_bytes
from elfw_helpers.utils.errors import DataError, ElfwError
from tests.course.grading.hostile.submissions import (
    BROKEN_FILES,
    CASES,
    HONEST,
    PROBABILITY,
    SIZE,
    case_notebook,
    code_cell,
    honest_cells,
    marked,
    notebook,
    released,
    text_cell,
    write_key,
)


@pytest.fixture
def course(tmp_path) -> Released:
    """The notebook that students were given."""
    write_key(tmp_path)
    return Released(tmp_path / "course.ipynb")


def plan_of(cells: list, course: Released):
    """Return the plan of a submission of some cells, whose names are read here and not in a sandbox."""
    read = parse_notebook(json.dumps(notebook(cells)).encode()).cells
    names = {id(cell): names_of(cell.source, course) for cell in list_own_cells(read, course)}
    return plan_submission(read, course, list(HONEST), names)


def names_of(source: str, course: Released) -> Names:
    """Return the names of a cell."""
    return Names.from_answer(json.loads(read_names(source, course.names)))


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_what_is_no_notebook_says_what_it_is(tmp_path, name):
    content, problem = BROKEN_FILES[name]
    path = tmp_path / "broken.ipynb"
    path.write_bytes(content)
    with pytest.raises(Unreadable, match=problem):
        parse_notebook(read_bytes(path))


def test_links_folders_and_pipes_are_not_opened(tmp_path):
    (tmp_path / "target").write_text("{}", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (("link", "link"), ("loop", "link"), ("pipe", "regular file"), (".", "a folder")):
        with pytest.raises(Unreadable, match=problem):
            read_bytes(tmp_path / name)


def test_what_makes_no_sense_in_a_notebook_is_left_out():
    odd = [None, 3, {"source": 4}, {"source": ["a", 1, "b"], "id": [], "metadata": 7, "outputs": {}}]
    (cell,) = parse_notebook(json.dumps({"cells": odd}).encode()).cells
    assert (cell.source, cell.id, cell.marks, cell.outputs) == ("ab", "", {}, [])


def test_notebooks_of_format_3_and_with_a_byte_order_mark_are_read():
    old = {"nbformat": 3, "worksheets": [{"cells": [{"cell_type": "code", "input": ["x = 1"]}]}]}
    assert parse_notebook(json.dumps(old).encode("utf-8-sig")).cells[0].source == "x = 1"


def test_a_notebook_full_of_charts_is_read(tmp_path):
    picture = {"output_type": "display_data", "data": {"image/png": "A" * 250_000}, "metadata": {}}
    numbers = {"output_type": "display_data", "data": {"application/x": list(range(1000)) * 500}}
    cells = [code_cell("x = 1\r\ny = 2\r", outputs=[picture] * 80 + [numbers])] * 2
    path = tmp_path / "charts.ipynb"
    path.write_text(
        json.dumps(notebook(cells, metadata={"language_info": {"version": "3.12.1"}})), encoding="utf-8"
    )
    assert path.stat().st_size > 40 << 20
    submission = parse_notebook(read_bytes(path))
    assert [cell.source for cell in submission.cells] == ["x = 1\ny = 2\n"] * 2
    assert submission.python == "3.12.1"


@pytest.mark.parametrize(
    ("metadata", "colab"),
    [({"colab": {"provenance": []}}, True), ({}, False), ("colab", False), (None, False)],
)
def test_colab_is_known_by_what_it_saves(metadata, colab):
    assert parse_notebook(json.dumps(notebook([], metadata=metadata)).encode()).colab is colab


@pytest.mark.parametrize("version", [None, 3, "3", "3.x", "3.12.1; rm", ["3.12"], "julia"])
def test_what_is_no_version_of_python_is_none(version):
    content = json.dumps(notebook([], metadata={"language_info": {"version": version}})).encode()
    assert parse_notebook(content).python == ""


@pytest.mark.parametrize(
    "name", [name for name, case in CASES.items() if case.flag.endswith(("counts", "found"))]
)
def test_duplicate_and_missing_exercises_are_flagged(course, name):
    flags = plan_of(case_notebook(CASES[name])["cells"], course).flags
    assert any(CASES[name].flag in flag for flag in flags)


def test_an_honest_submission_runs_its_three_exercises_and_nothing_else(course):
    plan = plan_of([*released()["cells"][:2], *honest_cells()], course)
    assert [step.exercises for step in plan.steps] == [(name,) for name in HONEST]
    assert plan.flags == ()


def test_a_marker_goes_before_metadata_and_metadata_before_a_name(course):
    by_name, by_metadata = (
        code_cell(SIZE),
        code_cell(f"{SIZE} + 1", metadata={"exercise": "conv_output_size"}),
    )
    cells = [by_metadata, by_name, *honest_cells()[2:]]
    assert plan_of(cells[1:], course).cells["conv_output_size"].source == SIZE
    assert plan_of([by_name, *cells], course).cells["conv_output_size"].source == SIZE, "defined anew below"
    assert plan_of([by_name, by_metadata], course).cells["conv_output_size"].source.endswith("+ 1")
    last = marked("conv_output_size", f"{SIZE} + 2")
    assert plan_of([last, by_metadata], course).cells["conv_output_size"].source.endswith("+ 2")


@pytest.mark.parametrize(
    "below",
    [
        "print(conv_output_size(64, 3, 1, 1))",
        "# def conv_output_size(...): return 0",
        "'def conv_output_size(): a draft'",
        "retrun 3",
    ],
)
def test_of_marked_cells_the_last_that_defines_the_name_counts(course, below):
    plan = plan_of([marked("conv_output_size", SIZE), marked("conv_output_size", below)], course)
    assert plan.cells["conv_output_size"].source.endswith(SIZE)
    assert "conv_output_size: 2 cells, the last that defines it counts" in plan.flags


def test_a_definition_in_a_check_goes_before_a_draft_above(course):
    cells = honest_cells(conv_output_size="def conv_output_size(*numbers):\n    return 0")
    cells[1]["source"] += f"\n{SIZE}"
    plan = plan_of(cells, course)
    assert plan.cells["conv_output_size"].source == cells[1]["source"]
    assert "conv_output_size: defined once more in a cell below, which counts" in plan.flags


@pytest.mark.parametrize("stub", ["# my attempt", "def conv_output_size(*numbers):\n    pass"])
def test_a_definition_below_its_marked_cell_counts(course, stub):
    below = [code_cell("draft = 1"), code_cell(SIZE), code_cell("conv_output_size(1, 1, 1, 0)")]
    plan = plan_of([marked("conv_output_size", stub), *below, *honest_cells()[1:]], course)
    assert plan.cells["conv_output_size"].source == SIZE
    assert any("found by name" in flag or "once more in a cell below" in flag for flag in plan.flags)


def test_code_typed_into_a_check_counts_and_is_flagged(course):
    cells = honest_cells()
    cells[0] = released()["cells"][2]
    cells[1]["source"] = cells[1]["source"].replace("\n", f"\n{SIZE}\n", 1)
    plan = plan_of(cells, course)
    assert plan.cells["conv_output_size"].source == cells[1]["source"]
    assert plan.flags == ("conv_output_size: found in a check",)
    (step,) = (step for step in plan.steps if step.check)
    assert step.asked == ("conv_output_size",) and step.check == released()["cells"][3]["source"]


def test_an_exercise_is_asked_about_where_its_check_stands(course):
    cells, others = honest_cells(), [(name,) for name in [*HONEST][1:]]
    plan = plan_of([cells[0], code_cell("import math"), *cells[1:]], course)
    assert [step.asked for step in plan.steps] == [(), ("conv_output_size",), *others]
    plan = plan_of([cells[0], code_cell("import math"), *cells[2:]], course)
    assert plan.steps[0].asked == ("conv_output_size",), "without a check, after its cell"


def test_a_stub_left_as_it_was_does_not_hide_an_attempt_elsewhere(course):
    stub = released()["cells"][2]
    stub["source"] = stub["source"].replace("\n", "  \n\n")
    assert plan_of([code_cell(SIZE), stub], course).cells["conv_output_size"].source == SIZE
    assert "NotImplementedError" in plan_of([stub], course).cells["conv_output_size"].source


def test_an_id_of_the_course_finds_an_exercise_whose_marker_is_gone(course):
    (identity,) = (c["id"] for c in released()["cells"] if c["source"].startswith("# exercise: count_runs"))
    plan = plan_of([code_cell("count_runs = len", id=identity)], course)
    assert plan.cells["count_runs"].source == "count_runs = len"
    assert "count_runs: found by metadata" in plan.flags


def test_cells_of_the_lecture_and_checks_are_not_run_but_added_ones_are(course):
    cells = [
        *released()["cells"][:2],
        code_cell("mine = 1"),
        code_cell("  # check: x\nboom"),
        *honest_cells(),
    ]
    assert [step.cell.source for step in plan_of(cells, course).steps if not step.exercises] == ["mine = 1"]


def test_code_in_a_text_cell_is_flagged_and_not_run(course):
    plan = plan_of([text_cell(SIZE)], course)
    assert plan.steps == ()
    assert "conv_output_size: code in a text cell" in plan.flags


def test_cells_given_before_the_course_s_modules_moved_are_not_the_student_s_own(tmp_path):
    given = "from elfw_helpers.data import FaceFolder, data_folder\n\nfaces = FaceFolder(data_folder())"
    (tmp_path / "given.ipynb").write_text(json.dumps(notebook([code_cell(given)])), encoding="utf-8")
    release = Released(tmp_path / "given.ipynb")
    rest = "faces = FaceFolder(data_folder())"
    former = (
        f"from elfw_helpers.datasets import FaceFolder\nfrom elfw_helpers.paths import data_folder\n{rest}"
    )
    more = (
        f"from elfw_helpers.data import (\n    FaceFolder,\n    data_folder,\n    split_batches,\n)\n{rest}"
    )
    other = f"from faces import FaceFolder\nfrom elfw_helpers.data import data_folder\n{rest}"
    own = "from elfw_helpers.data import FaceFolder, data_folder"
    sources = (given, former, more.replace("    split_batches,\n", ""), more, other, own, f"{former}[:9]")
    read = parse_notebook(json.dumps(notebook([code_cell(one) for one in sources])).encode()).cells
    assert [cell.source for cell in list_own_cells(read, release)] == [more, other, own, f"{former}[:9]"]


def test_cells_of_another_edition_of_the_course_are_not_the_student_s_own(tmp_path):
    given = [{**code_cell("faces = load()"), "id": "03-load"}]
    (tmp_path / "03_given.ipynb").write_text(json.dumps(notebook(given)), encoding="utf-8")
    release = Released(tmp_path / "03_given.ipynb")
    gone, changed = ("train(50)", "03-train"), ("faces = load()[:9]", "03-load")
    own = [changed, ("x = 1", "4f9a-01c2"), ("y = 2", "04-train"), ("# exercise: f\nf = 3", "03-f")]
    cells = [{**code_cell(source), "id": cell_id} for source, cell_id in (gone, *own)]
    read = parse_notebook(json.dumps(notebook(cells)).encode()).cells
    assert [cell.source for cell in list_own_cells(read, release)] == [source for source, _ in own]


@pytest.mark.parametrize("line", ["from elfw_helpers import (\n", "from elfw_helpers.a import (", "elfw_a."])
def test_a_megabyte_of_broken_imports_is_read_at_once(course, line):
    text = (line * (1 << 20))[: 1 << 20]
    start = time.process_time()
    assert not course.contains(Cell("code", text))
    assert time.process_time() - start < 2


def test_the_lecture_s_imports_and_functions_come_along_when_they_are_mentioned(tmp_path):
    cells = [
        code_cell(
            "import os, math as m\nfrom pathlib import Path, PurePath\n%pip install x\nfiles = !ls\nmake = 1"
        ),
        code_cell("def outer(x):\n    return inner(x)\n\ndef inner(x):\n    return m.exp(x)"),
        marked("wanted", "def wanted():\n    raise NotImplementedError"),
    ]
    (tmp_path / "given.ipynb").write_text(json.dumps(notebook(cells)), encoding="utf-8")
    given = Released(tmp_path / "given.ipynb")

    def code_for(source: str) -> list[str]:
        names = names_of(source, given)
        return given.code_for(names.read | names.mentioned).splitlines()

    assert code_for("outer(3) + wanted() + make") == [
        "import math as m", "def outer(x):", "    return inner(x)", "def inner(x):", "    return m.exp(x)",
    ]  # fmt: skip
    assert code_for('def f():\n    """Take m to the Path."""  # or os\n    return """""" + x # outer') == []
    assert code_for("print('layer #1', Path('x'))") == ["from pathlib import Path"]
    assert code_for("%time f'{os.sep} # {PurePath}'") == ["import os", "from pathlib import PurePath"]
    assert code_for("%%timeit -n 3\nPath  # os") == ["from pathlib import Path"]
    assert code_for("async def f():\n    async with Path as x: await x") == ["from pathlib import Path"]
    assert code_for("retrun m") == []


def test_keys_are_found_by_number_or_as_files(tmp_path):
    assert find_key("03").name == "03.toml"
    key = write_key(tmp_path)
    assert find_key(str(key)) == key
    with pytest.raises(ElfwError, match="There is no answer key '99'.*01, 02, 03"):
        find_key("99")


def test_a_key_in_json_says_the_same(tmp_path):
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 has no TOML reader of its own")
    key = write_key(tmp_path)
    copy = tmp_path / "key.json"
    copy.write_text(json.dumps(tomllib.loads(key.read_text(encoding="utf-8"))), encoding="utf-8")
    assert read_key(copy).exercises == read_key(key).exercises
    assert read_key(key).points == 7


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ('call = "conv_output_size(48, 3, 1, 1)"', "", "probe 1 of conv_output_size has no 'call'"),
        ("expect = 48", "exspect = 48", "has no 'expect'"),
        ("expect = 48", "expect = 48\natoll = 1", "unknown 'atoll'"),
        ("expect = 48", 'expect = 48\npoints = "two"', "'points' is 'two'. Make it a number"),
        (
            "expect = 48",
            'expect = 48\ngiven = "x = ("',
            "probe 1 of conv_output_size: its 'given' is not Python",
        ),
        ('call = "conv_output_size(48', 'call = "conv_output_size((48', "its 'call' is not Python"),
        ("exercises.count_runs", "exercises.counts", "exercise counts is not in course.ipynb"),
        ("expect = 48", 'expect = [1]\nmeasure = "f1"\nat_least = 1\nmargin = 0', "the measure 'f1'"),
        ("expect = 48", 'expect = [1]\nmeasure = "accuracy"\nat_least = 1', "has no 'margin'"),
        ("expect = 48", 'truth = "gone.npz"', "names gone.npz, which is not there"),
        ('notebook = "course"', 'notebook = "gone"', "its notebook 'gone' is not there"),
        ("[exercises.count_runs]\n", "[exercises.count_runs]\nsecnds = 3\n", "unknown 'secnds'"),
        ("memory_mb = 250", "memory_mb = ", "cannot be read"),
        ("[[exercises.count_runs.probes]]", "[[exercises.0bad.probes]]", "'0bad' has no probe, or no name"),
    ],
)
def test_what_is_wrong_with_a_key_is_named(tmp_path, old, new, found):
    key = write_key(tmp_path)
    key.write_text(
        key.read_text(encoding="utf-8").replace(old, new, -1 if old == "exercises.count_runs" else 1),
        encoding="utf-8",
    )
    with pytest.raises(DataError, match=f"key.toml.*{found}"):
        read_key(key)


def test_a_change_of_key_notebook_or_truth_changes_the_digest(tmp_path):
    key = write_key(tmp_path)
    before = read_key(key).digest
    given = Path(tmp_path / "course.ipynb")
    given.write_text(given.read_text(encoding="utf-8").replace("A course", "The course"), encoding="utf-8")
    assert read_key(key).digest != before
    assert PROBABILITY not in given.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "stub", ["raise NotImplementedError", "'what it does'\n    raise NotImplementedError('write it')"]
)
def test_an_edited_stub_does_not_hide_the_answer_below_its_check(course, stub):
    cells = honest_cells(conv_output_size=f"# below\ndef conv_output_size(*numbers):\n    {stub}")
    plan = plan_of([*cells, code_cell(SIZE)], course)
    assert plan.cells["conv_output_size"].source == SIZE
    assert "conv_output_size: its cell does not define it" in plan_of(cells, course).flags


@pytest.mark.parametrize("below", [SIZE, "conv_output_size = lambda *numbers: 3"])
def test_what_makes_the_name_below_an_exercise_without_its_check_counts(course, below):
    cells = honest_cells(conv_output_size="def conv_output_size(*numbers):\n    return 0")
    cells[1] = code_cell(below)
    assert plan_of(cells, course).cells["conv_output_size"].source == below
