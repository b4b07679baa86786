"""Executing notebooks: into the build folder, and in place."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from graphlib import TopologicalSorter
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from elfw_course import execute as execution
from elfw_course import order
from elfw_course import run as course
from elfw_course.results import BEGIN, END, SPEED_BEGIN, SPEED_END, read_results
from elfw_course.student import NOTE_BEGIN, NOTE_END, list_notebooks
from elfw_helpers.utils.archive import pack_folder
from elfw_helpers.utils.errors import DataError, ElfwError
from elfw_helpers.utils.paths import project_folder
from tests.faces import write_face

NOTEBOOKS = project_folder() / "notebooks"
RESULTS = """
from elfw_helpers.notebook import show_metrics
show_metrics("mini network", accuracy=0.9, accuracy_interval=(0.85, 0.95), macro_f1=0.7,
             macro_f1_interval=(0.6, 0.8), f1_hair=float("nan"), f1_spectacles=0.25, f1_cap=0.5, images=228,
             majority_baseline=0.6, balanced_accuracy=0.8)
show_metrics("not a model", loss=0.5)
show_metrics("not all scores", accuracy=0.5, macro_f1=0.5)
"""
STUBBORN = """
while True:
    try:
        time.sleep(60)
    except KeyboardInterrupt:
        pass
"""
DRAWING = """
import sys
repository = "https://github.com/old/name"
import matplotlib.pyplot as plt
from elfw_helpers.notebook import save_figure
print("progress", file=sys.stderr)
print("one")
save_figure(plt.subplots(figsize=(1, 1))[0], "02_new", alt="A line < 2")
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with two notebooks, faces and a build folder, and a false `python3` kernel registered."""
    write_notebook(tmp_path / "notebooks" / "01_results.ipynb", RESULTS, "", "print('done')")
    write_notebook(tmp_path / "notebooks" / "02_drawing.ipynb", DRAWING)
    write_face(tmp_path / "few", "Some_Person_0001", 0, seed=1)
    (tmp_path / "data").mkdir()
    pack_folder(tmp_path / "few", tmp_path / "data" / "rendered_faces.zip")
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "course_on_photos.json").write_text(
        '{"data": "photos", "results": []}', encoding="utf-8"
    )
    address = '[project.urls]\nrepository = "https://github.com/o/n"\n'
    (tmp_path / "pyproject.toml").write_text(address, encoding="utf-8")
    figure = {"what": "a step", "values": [1.0], "unit": "s", "note": "", "headline": True}
    stored = {"machine": "one core", "date": "2026-11-27", "versions": {}, "figures": [figure]}
    (tmp_path / "benchmarks" / "results").mkdir()
    (tmp_path / "benchmarks" / "results" / "steps.json").write_text(json.dumps(stored), encoding="utf-8")
    times = tmp_path / "benchmarks" / "results" / "notebooks_alone.json"
    times.write_text(json.dumps({**stored, "figures": []}), encoding="utf-8")
    marks = f"{BEGIN}\n{END}\n{NOTE_BEGIN}\n{NOTE_END}\n"
    (tmp_path / "README.md").write_text(marks, encoding="utf-8")
    marks = f"{SPEED_BEGIN}\n{SPEED_END}\n"
    (tmp_path / "benchmarks" / "README.md").write_text(marks, encoding="utf-8")
    false_kernel = tmp_path / "jupyter" / "kernels" / "python3"
    false_kernel.mkdir(parents=True)
    kernel = {"argv": ["/bin/false"], "display_name": "Another", "language": "python"}
    (false_kernel / "kernel.json").write_text(json.dumps(kernel), encoding="utf-8")
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "jupyter"))
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    monkeypatch.delenv("ELFW_DATA", raising=False)
    for module in ("elfw_course.run", "elfw_helpers.utils.paths", "elfw_course.student"):
        monkeypatch.setattr(f"{module}.project_folder", lambda: tmp_path)
    return tmp_path


def write_notebook(path: Path, *sources: str) -> None:
    """Write a notebook as an author leaves it, not executed; a cell's id is its position."""
    path.parent.mkdir(exist_ok=True)
    cells = [new_markdown_cell("# Title", id="title")]
    cells += [new_code_cell(source.strip(), id=f"cell-{position}") for position, source in enumerate(sources)]
    nbformat.write(new_notebook(cells=cells), path)


def read_all(folder: Path) -> dict[str, bytes]:
    """Return the bytes of all files in a folder, and in those within it, by name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_run_leaves_copies_pages_and_a_table_and_touches_no_notebook(project, capsys):
    before = read_all(project / "notebooks")
    assert course.run_course([]) == 0
    assert read_all(project / "notebooks") == before
    assert not (project / "figures").exists()
    copy = nbformat.read(project / "build" / "01_results.ipynb", as_version=4)
    assert [cell.execution_count for cell in copy.cells[1:]] == [1, None, 2]
    page = (project / "build" / "02_drawing.html").read_text(encoding="utf-8")
    assert re.search(r'<img alt="A line &lt; 2"\s+src="data:image/png;base64', page)
    assert (project / "build" / "figures" / "02_new.png").is_file()
    output = capsys.readouterr().out
    rows = [" ".join(line.split()) for line in output.splitlines()]
    assert "01_results 2 cells ..." in rows
    assert "mini network 01 228 0.900 [0.850, 0.950] 0.600 0.800 0.700 [0.600, 0.800] – 0.250 0.500" in rows
    data, (result,) = read_results(project / "build" / "results.json")
    assert (data, result.title, result.metrics["f1_cap"]) == ("rendered_faces", "mini network", 0.5)
    assert f"Results on {project / 'data' / 'rendered_faces'}" in rows
    assert "not a model" not in output and "not all scores" not in output
    assert "Peak memory" in output


def test_relative_folders_reach_the_kernel_absolute(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.setenv("ELFW_DATA", "data")
    monkeypatch.setenv("ELFW_BUILD", "out")
    source = "import os\nprint(os.environ['ELFW_DATA'], os.environ['ELFW_BUILD'], os.getcwd())"
    write_notebook(project / "notebooks" / "03_where.ipynb", source)
    assert course.run_course(["03"]) == 0
    copy = nbformat.read(project / "out" / "03_where.ipynb", as_version=4)
    expected = " ".join(str(project / name) for name in ("data", "out", "notebooks"))
    assert copy.cells[1].outputs[0].text == expected + "\n"


def test_failing_cell_ends_its_notebook_and_is_named_and_the_others_go_on(project, capsys):
    path = project / "notebooks" / "00_failing.ipynb"
    write_notebook(path, "print('fine')", "", "raise ValueError('no such face\\nat all')", "print('never')")
    write_notebook(project / "notebooks" / "02_drawing.ipynb", "import os\nos._exit(1)")
    (project / "notebooks" / "03_merged.ipynb").write_text("<<<<<<< HEAD\n{}\n", encoding="utf-8")
    assert course.run_course([]) == 1
    output, error = capsys.readouterr()
    assert "00_failing.ipynb stopped in code cell 2 of 3:" in error
    assert "    ValueError: no such face" in error
    assert str(project / "build" / "00_failing.html") in error
    assert "no such face" in (project / "build" / "00_failing.html").read_text(encoding="utf-8")
    rows = [" ".join(re.sub(r"\d:\d\d", "TIME", line).split()) for line in output.splitlines()]
    times = rows[rows.index("Time (minutes:seconds)") + 1 :]
    assert times[0] == "00_failing TIME FAILED in code cell 2 of 3: ValueError: no such face"
    assert times[1] == "01_results TIME"
    assert times[2].startswith("02_drawing TIME FAILED in code cell 1 of 1: The kernel died")
    assert times[3].startswith("03_merged TIME FAILED: no notebook: ")
    assert [one.title for one in read_results(project / "build" / "results.json")[1]] == ["mini network"]


def test_run_on_windows_has_no_signals_of_the_loop_and_no_peak_memory(project, monkeypatch, capsys):
    def refuse(*_):
        raise NotImplementedError

    chosen = []
    monkeypatch.setattr(asyncio.SelectorEventLoop, "add_signal_handler", refuse)
    monkeypatch.setattr(asyncio, "WindowsSelectorEventLoopPolicy", lambda: "it", raising=False)
    monkeypatch.setattr(asyncio, "set_event_loop_policy", chosen.append)
    monkeypatch.setitem(sys.modules, "resource", None)
    before = signal.getsignal(signal.SIGINT)
    assert course.run_course(["01"]) == 0
    output, error = capsys.readouterr()
    assert "Traceback" not in error and "Exception" not in error
    assert "mini network" in output and "Peak memory" not in output
    assert read_results(project / "build" / "results.json")[1]
    assert signal.getsignal(signal.SIGINT) == before and chosen == ["it"]


def wait_for(name: str, write: str) -> str:
    """Return the source of a cell that writes a file and waits for another in the build folder."""
    return (
        "import os, pathlib, time\nbuild = pathlib.Path(os.environ['ELFW_BUILD'])\n"
        f"(build / {write!r}).write_text('')\ndeadline = time.monotonic() + 60\n"
        f"while not (build / {name!r}).exists():\n    assert time.monotonic() < deadline\n    time.sleep(.05)"
    )


def test_notebooks_run_side_by_side_with_the_cores_shared_among_them(project, monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    threads = "print(os.environ['OMP_NUM_THREADS'])"
    write_notebook(project / "notebooks" / "01_results.ipynb", wait_for("two", "one"), threads)
    write_notebook(project / "notebooks" / "02_drawing.ipynb", wait_for("one", "two"), threads)
    assert course.run_course([]) == 0
    assert course.run_course(["02"]) == 0
    said = {
        path.stem: nbformat.read(path, as_version=4).cells[2].outputs[0].text
        for path in (project / "build").glob("*.ipynb")
    }
    assert said == {"01_results": "1\n", "02_drawing": "2\n"}


@pytest.mark.parametrize("failing", ["", "\nraise ValueError"])
def test_a_notebook_waits_for_those_that_it_needs_even_if_they_fail(project, monkeypatch, failing):
    monkeypatch.setattr("joblib.cpu_count", lambda: 2)
    monkeypatch.setattr(order, "NEEDS", {"01_results": {"02_drawing"}})
    write_notebook(project / "notebooks" / "01_results.ipynb", wait_for("ended", "started"))
    source = "import os, time; time.sleep(1); before = os.listdir(os.environ['ELFW_BUILD'])\n"
    source += "open(os.environ['ELFW_BUILD'] + '/ended', 'w').close()\nassert 'started' not in before"
    write_notebook(project / "notebooks" / "02_drawing.ipynb", source + failing)
    (project / "build").mkdir()
    assert course.run_course([]) == bool(failing)
    assert (project / "build" / "started").exists()


def test_kernel_that_dies_is_said_so(project, capsys):
    write_notebook(project / "notebooks" / "01_results.ipynb", "import os\nos._exit(1)")
    assert course.run_course(["01"]) == 1
    assert "The kernel died" in capsys.readouterr().err


@pytest.mark.parametrize("source", ["time.sleep(60)", STUBBORN], ids=["sleeping", "stubborn"])
def test_interrupt_stops_all_kernels_and_says_how_to_go_on(project, source):
    for name in ("01_results", "02_drawing"):
        path = project / "notebooks" / f"{name}.ipynb"
        started = f"open({str(project / name)!r}, 'w').write(str(os.getpid()))\n"
        write_notebook(
            path, f"import os, time\nprint('before', flush=True)\n{started}{source}", "print('after')"
        )
    script = (
        "import pathlib, signal, sys\nimport joblib\nfrom elfw_course import run as course, student\n"
        # A shell has what it starts in the background ignore Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "joblib.cpu_count = lambda: 2\n"
        f"course.project_folder = student.project_folder = lambda: pathlib.Path({str(project)!r})\n"
        "sys.exit(course.run_course([]))"
    )
    environment = {**os.environ, "ELFW_DATA": str(project)}
    process = subprocess.Popen(
        [sys.executable, "-c", script], env=environment, stderr=subprocess.PIPE, encoding="utf-8"
    )
    files = [project / name for name in ("01_results", "02_drawing")]
    deadline = time.monotonic() + 60
    while not all(file.is_file() and file.stat().st_size for file in files) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    if source == STUBBORN:
        time.sleep(1)
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130, error
    assert "The same command again goes on" in error
    for file in files:
        with pytest.raises(ProcessLookupError):
            os.kill(int(file.read_text(encoding="utf-8")), 0)
        copy = nbformat.read(project / "build" / f"{file.name}.ipynb", as_version=4)
        assert copy.cells[1].outputs[0].text == "before\n" and not copy.cells[2].outputs


def test_missing_faces_are_said_before_any_notebook_runs(project, monkeypatch):
    monkeypatch.setenv("ELFW_DATA", str(project / "nowhere"))
    with pytest.raises(DataError, match="nowhere: no such folder"):
        course.run_course([])


def test_build_folder_must_not_be_the_notebooks_own(project):
    path = project / "notebooks" / "01_results.ipynb"
    with pytest.raises(ElfwError, match="holds the notebooks themselves"):
        course.run_notebooks([path], project / "notebooks")


def test_notebooks_are_found_by_name_and_number(project):
    names = [path.stem for path in course.find_notebooks(["02_drawing.ipynb", "1"])]
    assert names == ["01_results", "02_drawing"]
    with pytest.raises(ElfwError, match="There is no notebook '09'.*01_results, 02_drawing"):
        course.find_notebooks(["09"])


def test_refresh_refuses_pictures_of_real_people(project, monkeypatch):
    monkeypatch.setenv("ELFW_DATA", str(project / "data"))
    before = read_all(project / "notebooks")
    with pytest.raises(ElfwError, match="pictures of real people must not be stored"):
        course.refresh_course()
    assert read_all(project / "notebooks") == before


def test_refresh_replaces_notebooks_and_figures_and_is_stable(project):
    figures = project / "figures"
    figures.mkdir()
    for name in ("02_old.png", "07_other.png", "sheet.jpg"):
        (figures / name).write_text(name, encoding="utf-8")
    (project / "build").mkdir()
    assert course.refresh_course() == 0
    first = read_all(project / "notebooks")
    assert set(read_all(figures)) == {"02_new.png", "07_other.png", "sheet.jpg"}
    assert list((project / "build").iterdir()) == []
    assert {"student/01_results.ipynb", "student/02_drawing.ipynb"} < first.keys()
    assert "| mini network | 228 rendered faces | 0.900 [0.850, 0.950] |" in (
        project / "README.md"
    ).read_text(encoding="utf-8")
    assert course.refresh_course() == 0
    assert read_all(project / "notebooks") == first
    text = first["02_drawing.ipynb"].decode()
    assert 'repository = \\"https://github.com/o/n\\"' in text
    assert text.endswith("}\n") and "progress\\n" not in text and str(project) not in text
    notebook = nbformat.reads(text, as_version=4)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "version" not in notebook.metadata.language_info
    assert [cell.id for cell in notebook.cells] == ["title", "cell-0"]
    assert [output.output_type for output in notebook.cells[1].outputs] == ["stream", "display_data"]


@pytest.mark.parametrize("source", ["raise ValueError", "import os; print(os.environ['ELFW_BUILD'])"])
def test_refresh_that_fails_changes_nothing(project, source):
    write_notebook(project / "notebooks" / "02_drawing.ipynb", DRAWING, source)
    before = read_all(project / "notebooks")
    if "raise" in source:
        assert course.refresh_course() == 1
    else:
        with pytest.raises(
            ElfwError, match=r"02_drawing.ipynb, cell \[2\] shows .* a folder of this machine"
        ):
            course.refresh_course()
    assert read_all(project / "notebooks") == before
    assert read_all(project / "figures") == {}


def test_refresh_with_a_wrong_address_says_so_before_any_work(project, monkeypatch):
    (project / "pyproject.toml").write_text('[project.urls]\nrepository = "o/n"\n', encoding="utf-8")
    monkeypatch.setattr(course, "execute_side_by_side", None)
    with pytest.raises(ElfwError, match="pyproject.toml: 'o/n' is no address"):
        course.refresh_course()


def test_pieces_of_text_are_joined_and_noise_removed():
    pieces = [("stdout", "a"), ("stderr", "x"), ("stdout", "b\n")]
    cell = new_code_cell("", metadata={"execution": {"iopub.status.busy": "now"}})
    cell.outputs = [nbformat.v4.new_output("stream", name=name, text=text) for name, text in pieces]
    notebook = new_notebook(cells=[cell], metadata={"widgets": {}})
    course.clean_notebook(notebook)
    assert [output.text for output in cell.outputs] == ["ab\n"]
    assert "execution" not in cell.metadata and "widgets" not in notebook.metadata


def test_progress_on_a_terminal_is_one_line_for_all_that_run(monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    progress = execution.Progress()
    cells = [new_code_cell("1"), new_code_cell(""), new_code_cell("2")]
    running = [
        execution.Execution(new_notebook(cells=cells), Path(name))
        for name in ("02_transfer.ipynb", "04_search.ipynb", "08_a_name_for_which_no_place_is_left.ipynb")
    ]
    running[1].cell = 1
    progress.show(running)
    progress.ended(running[0])
    progress.show([])
    shown, ended = capsys.readouterr().out.removeprefix("\r\x1b[K").split("\r\x1b[K")
    assert shown.startswith("0:00  02_transfer 0/2  04_search 1/2  08_a_name") and len(shown) == 59
    assert ended == "02_transfer  2 cells  0:00\n"


def test_what_notebooks_load_from_each_other_is_what_the_order_says():
    stores = {}
    for path in list_notebooks(NOTEBOOKS):
        cells = nbformat.read(path, as_version=4).cells
        code = "\n".join(cell.source for cell in cells if cell.cell_type == "code")
        used = re.findall(r'(?:build_folder\(\)(?: / "runs")?|store) / "(\w+)"', code)
        stores[path.stem] = set(used) - {"runs"}
    assert {"grid"} <= stores["05_evaluation"]
    ancestors = {}
    for name in TopologicalSorter({name: order.NEEDS.get(name, set()) for name in stores}).static_order():
        needed = order.NEEDS.get(name, set())
        assert all(stores[name] & stores[one] for one in needed), f"{name} loads nothing of {needed}"
        ancestors[name] = needed.union(*(ancestors[one] for one in needed))
    assert ancestors.keys() == stores.keys()
    for name, used in stores.items():
        makers = {next(other for other in stores if store in stores[other]) for store in used}
        assert makers - {name} <= ancestors[name], f"{name} computes what {makers} do"


def test_the_longest_chain_comes_first():
    names = order.sort_longest_chain_first(path.stem for path in list_notebooks(NOTEBOOKS))
    assert names[0] == "04_grid_search"
    assert "05_evaluation" not in order.find_ready(names, [])
    assert order.find_ready(["05_evaluation", "04_grid_search"], []) == ["04_grid_search"]
    assert order.find_ready(["05_evaluation"], ["04_grid_search"]) == []


def test_a_notebook_that_measures_all_cores_runs_alone_and_last():
    assert "11_scaling_out" in order.ALONE <= {path.stem for path in list_notebooks(NOTEBOOKS)}
    assert order.find_ready(["09_fairness", "11_scaling_out"], []) == ["09_fairness"]
    assert order.find_ready(["11_scaling_out"], ["09_fairness"]) == []
    assert order.find_ready(["11_scaling_out"], []) == ["11_scaling_out"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(41.4, "0:41"), (59.7, "1:00"), (725, "12:05"), (3609, "1:00:09")]
)
def test_duration(seconds, text):
    assert execution.format_duration(seconds) == text
