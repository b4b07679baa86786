"""README and docs/ are true: no link is dead, and every command in them is run by a test."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest
import yaml

from elfw_course.cli import app
from elfw_course.student import list_notebooks, read_repository, tomllib
from elfw_helpers import __version__
from elfw_helpers.utils.paths import project_folder

ROOT = project_folder()
TEXTS = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/instructors.md", "docs/maintainers.md",
    "docs/data.md", "docs/capstone.md", "docs/cluster.md", "data/LICENSE.md",
    ".github/SECURITY.md",
)  # fmt: skip
LONGEST_README = 150
# By how a command of README begins: the test that runs it, FILE::TEST, or what it is compared with here. How
# `elfw` is called, `test_every_call_of_elfw_is_one_that_it_takes` checks besides.
APPS, BATCH = "tests/deployment/test_apps.py", "tests/course/grading/test_batch.py"
TRAINING = "tests/training/test_distributed.py"
RUN_BY = {
    "git clone": "here: test_the_clone_line_names_the_courses_address",
    "cd": "here: test_the_clone_line_names_the_courses_address",
    "make lab": "here: test_make_knows_its_targets",
    "make run": "here: test_make_knows_its_targets",
    "python3 -m venv": "here: test_the_environment_is_activated_where_venv_puts_it",
    "source": "here: test_the_environment_is_activated_where_venv_puts_it",
    "pip install -e": "here: test_the_package_has_the_extras_that_are_installed",
    "jupyter lab": "here: test_jupyterlab_is_there",
    "conda": "tests/test_environment.py::test_conda_forge_has_what_is_asked_of_it",
    "elfw app": f"{APPS}::test_pages_forbid_what_comes_from_elsewhere_and_offer_the_two_apps",
    "elfw check": "tests/course/test_cli.py::test_renders_a_set_that_the_check_finds_sound",
    "elfw doctor": "tests/course/test_doctor.py::test_a_course_that_lacks_nothing_will_run",
    "elfw grade": f"{BATCH}::test_each_submission_has_a_row_a_page_and_a_line_in_the_log",
    "elfw predict": "tests/deployment/test_files.py::test_segmenting_writes_mask_overlay_and_json",
    "elfw train": f"{TRAINING}::test_alone_it_is_the_training_of_the_notebooks_bit_for_bit",
    "elfw run": "tests/course/test_run.py::test_run_leaves_copies_pages_and_a_table_and_touches_no_notebook",
}


def read(name: str) -> str:
    """Return the text of a file of the course."""
    return (ROOT / name).read_text(encoding="utf-8")


def list_commands(name: str) -> list[str]:
    """Return the commands of a text: indented lines, and `code` that begins as one."""
    text = re.sub(r"<!--.*?-->", "", read(name), flags=re.DOTALL)
    text = re.sub(r"^```\w*$", "", text, flags=re.MULTILINE)
    found = re.findall(r"^    (\S.*)$|`([^`\n]+)`", text, re.MULTILINE)
    found = [block or inline for block, inline in found]
    without = [re.sub(r"\s+#.*|^(?:\w+=\S+ )+|^\.venv/bin/", "", command).strip() for command in found]
    return [
        command
        for command in without
        if re.match(r"(elfw|make|git|pip|python3?|jupyter|conda|source|cd) ", command)
    ]


@pytest.mark.parametrize("command", sorted(set(list_commands("README.md"))))
def test_every_command_of_the_readme_is_run_by_a_test(command):
    found = [start for start in RUN_BY if f"{command} ".startswith(f"{start} ")]
    assert found, f"no test runs {command!r}: name one in RUN_BY"
    file, _, test = RUN_BY[found[0]].partition("::")
    if file.startswith("here: "):
        assert callable(globals()[file.removeprefix("here: ")])
    else:
        assert f"def {test}" in read(file)


def test_every_entry_of_the_table_belongs_to_a_command():
    commands = list_commands("README.md")
    assert [start for start in RUN_BY if not any(f"{one} ".startswith(f"{start} ") for one in commands)] == []


@pytest.mark.parametrize("name", [*TEXTS, "grading/README.md", "data/README.md", "data/weights/README.md"])
def test_every_call_of_elfw_is_one_that_it_takes(name):
    """Each is parsed as the command line parses it, and not carried out."""
    from typer.main import get_command

    commands = get_command(app).commands
    for call in list_commands(name):
        words = shlex.split(call.replace("...", ""))
        if words[0] != "elfw" or len(words) == 1 or words[1].startswith("-"):
            continue
        assert words[1] in commands, call
        if len(words) > 2:
            command = commands[words[1]]
            given = [word for word in words[2:] if word.startswith("--")]
            known = {option for parameter in command.params for option in parameter.opts}
            assert set(given) <= known, call
            if not given:
                command.make_context(words[1], words[2:], resilient_parsing=True)


def test_the_clone_line_names_the_courses_address():
    url = f"https://github.com/{read_repository(ROOT)}"
    assert f"    git clone {url} elfw-course\n    cd elfw-course\n" in read("README.md")


@pytest.mark.skipif(sys.platform == "win32", reason="make")
@pytest.mark.parametrize("name", TEXTS)
def test_make_knows_its_targets(name):
    for target in {command.split()[1] for command in list_commands(name) if command.startswith("make ")}:
        dry = ["make", "--dry-run", "--assume-old=.venv/installed", target]
        done = subprocess.run(dry, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
        assert done.returncode == 0, done.stderr


def test_the_environment_is_activated_where_venv_puts_it(tmp_path):
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / ".venv"], check=True)
    text = read("README.md")
    assert "    source .venv/bin/activate\n" in text and "`.venv\\Scripts\\activate`" in text
    assert (tmp_path / ".venv" / ("Scripts" if sys.platform == "win32" else "bin") / "activate").exists()


def test_the_package_has_the_extras_that_are_installed():
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    asked = {
        extra for name in TEXTS for extra in re.findall(r'pip install (?:-e )?"[\w.-]*\[(\w+)\]"', read(name))
    }
    assert {"lab", "dev"} <= asked <= extras.keys()


def test_jupyterlab_is_there():
    assert "jupyter-lab" in {script.name for script in distribution("jupyterlab").entry_points}


def test_readme_has_a_row_with_both_times_and_a_badge_to_solve_every_notebook():
    text = read("README.md")
    for path in list_notebooks(ROOT / "notebooks"):
        number = path.stem[:2]
        row = (
            rf"\| \[{number} [^|]+\]\(notebooks/{path.name}\) \|([^|]+\|){{2}} [^|]+ min \| .*\[{number}\] \|"
        )
        assert re.search(row, text), path.name
        address = f"https://colab.research.google.com/github/{read_repository(ROOT)}"
        assert f"[{number}]: {address}/blob/main/notebooks/student/{path.name}\n" in text


def test_the_top_level_has_what_others_link_to():
    fixed = {"notebooks", "elfw_helpers", "data", "figures", "environment.yml", "README.md"}
    assert fixed <= {path.name for path in ROOT.iterdir()}


def test_readme_is_short():
    assert read("README.md").count("\n") <= LONGEST_README


def list_anchors(file: Path) -> set[str]:
    """Return the anchors of a text's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("name", TEXTS)
def test_no_link_is_dead_and_every_picture_is_described(name):
    file = ROOT / name
    text = read(name)
    for target, anchor in re.findall(r"\]\(([^)#]*)(?:#([^)]*))?\)", text):
        if "://" in target:
            continue
        place = file.parent / target if target else file
        assert place.exists(), target
        assert not anchor or anchor in list_anchors(place), f"{target}#{anchor}"
    assert "![](" not in text


def test_the_citation_has_what_its_format_asks_for():
    """Source: https://github.com/citation-file-format/citation-file-format, schema 1.2.0."""
    cited = yaml.safe_load(read("CITATION.cff"))
    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert cited["cff-version"] == "1.2.0" and cited["type"] in ("software", "dataset")
    assert cited["version"] == __version__ and cited["license"] == "MIT"
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", str(cited["date-released"]))
    assert cited["repository-code"] == f"https://github.com/{read_repository(ROOT)}"
    for reference in [cited, *cited["references"]]:
        assert all(
            {"name"} <= one.keys() or {"family-names", "given-names"} <= one.keys()
            for one in reference["authors"]
        )
    assert all({"type", "title", "authors"} <= reference.keys() for reference in cited["references"])


def test_the_changelog_knows_this_version():
    assert f"\n## {__version__}\n" in read("CHANGELOG.md")


WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.stem)
def test_workflows_pin_their_actions_and_may_only_read(file):
    text = file.read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    assert all(
        re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40} # v[\d.]+", one) for one in re.findall(r"uses: (.*)", text)
    )
    for job in workflow["jobs"].values():
        assert set(job.get("permissions", {})) <= {"pages", "id-token"}
        for run in (step["run"] for step in job["steps"] if "run" in step):
            for script in re.findall(r"(?:bash|python3) (\S+)", run):
                assert (ROOT / script).exists(), run


def test_what_pre_commit_runs_is_there():
    hooks = yaml.safe_load(read(".pre-commit-config.yaml"))["repos"][0]["hooks"]
    assert {"ruff-check", "ruff-format", "notebooks"} <= {hook["id"] for hook in hooks}
    files = [word for hook in hooks for word in hook["entry"].split() if word.startswith("tests/")]
    assert files and all((ROOT / file).exists() for file in files)
