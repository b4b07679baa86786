"""Sandboxes: which one is taken, what it lets in, and that none is a reason to refuse."""

from __future__ import annotations

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from elfw_course.cli import main
from elfw_course.grading import sandbox, seccomp
from elfw_course.grading.sandbox import (
    RUNNER,
    NoSandbox,
    Sandbox,
    choose_sandbox,
    environment,
    refuse_exposed,
    visible_paths,
)
from elfw_course.grading.session import RunEnded, Session
from elfw_course.grading.turns import take_turn
from elfw_course.grading.watchdog import descendants, proportional_memory, resident_memory
from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.paths import project_folder
from tests.course.grading.hostile.submissions import honest_cells, notebook, write_key
from tests.course.grading.sandboxes import ask_for_cell, needs_sandbox

MEMORY = 400 << 20
ENGINE = """#!/bin/sh
echo "$@" >> "{log}"
case "$1" in
    image) exit 1 ;;
    import) cat > /dev/null ;;
    run) while [ "$1" != elfw-empty ]; do shift; done; shift; exec "$@" ;;
esac
"""


def install(folder: Path, name: str, script: str) -> None:
    """Write an executable script."""
    (folder / name).write_text(script, encoding="utf-8")
    (folder / name).chmod(0o755)


@pytest.fixture
def programs(tmp_path, monkeypatch) -> Path:
    """A folder of programs, the only one that is searched but for the shell's own."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setattr(
        sandbox.shutil, "which", lambda name: str(folder / name) if (folder / name).exists() else None
    )
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


@pytest.fixture
def submissions(tmp_path) -> Path:
    """One honest submission, and a key."""
    write_key(tmp_path)
    folder = tmp_path / "submissions"
    folder.mkdir()
    (folder / "ann.ipynb").write_text(json.dumps(notebook(honest_cells())), encoding="utf-8")
    return folder


def grade(folder: Path, *more: str) -> int:
    """Grade a folder into `out` beside it."""
    key, out = str(folder.parent / "key.toml"), str(folder.parent / "out")
    return main(["grade", key, str(folder), "--out", out, *more])


def test_without_a_sandbox_nothing_is_run(programs, submissions, capsys):
    assert grade(submissions) == 1
    error = capsys.readouterr().err
    assert "apt install bubblewrap" in error and "--unsandboxed runs them as you" in error
    assert not (submissions.parent / "out").exists()


def test_a_sandbox_that_does_not_start_is_named_with_its_reason(programs, capsys):
    install(programs, "bwrap", "#!/bin/sh\necho setting up uid map: Permission denied >&2\nexit 1\n")
    with pytest.raises(ElfwError, match="does not start: setting up uid map: Permission denied"):
        choose_sandbox(unsandboxed=False)


def test_where_ubuntu_asks_for_a_profile_its_commands_are_told(programs, tmp_path, monkeypatch):
    install(programs, "bwrap", "#!/bin/sh\nexit 1\n")
    (tmp_path / "restriction").write_text("1\n", encoding="utf-8")
    monkeypatch.setattr(sandbox, "RESTRICTION", tmp_path / "restriction")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(
        NoSandbox, match="asks for an AppArmor profile. What mends it:\nsudo apt install apparmor"
    ) as caught:
        choose_sandbox(unsandboxed=False)
    assert pickle.loads(pickle.dumps(caught.value)).mend == caught.value.mend
    (tmp_path / "restriction").write_text("0\n", encoding="utf-8")
    with pytest.raises(NoSandbox, match="does not start: exit code 1. What mends it:\nLet users"):
        choose_sandbox(unsandboxed=False)


def test_bubblewrap_goes_before_docker_and_docker_before_podman(programs):
    for name in ("podman", "docker", "bwrap"):
        install(programs, name, "#!/bin/sh\n")
        chosen = choose_sandbox(unsandboxed=False).name
        assert chosen == {"bwrap": "bubblewrap"}.get(name, name)


def test_an_engine_that_does_not_run_is_passed_over(programs):
    install(programs, "docker", "#!/bin/sh\nexit 1\n")
    install(programs, "podman", "#!/bin/sh\n")
    assert choose_sandbox(unsandboxed=False).name == "podman"


def test_a_container_is_told_all_its_limits(programs, submissions, tmp_path):
    install(programs, "docker", ENGINE.format(log=tmp_path / "calls"))
    assert grade(submissions) == 0
    assert '"7","7","3","2","2"' in (tmp_path / "out" / "grades.csv").read_text(encoding="utf-8")
    calls = (tmp_path / "calls").read_text(encoding="utf-8").splitlines()
    assert [call.split()[0] for call in calls] == ["info", "ps", "image", "import", "run", "rm"]
    for option in (
        "--network=none",
        "--read-only",
        "--cap-drop=ALL",
        "--pids-limit=64",
        "--user=64000:64000",
    ):
        assert option in calls[4]
    assert f"--memory={250 << 20} " in calls[4] and str(tmp_path) not in calls[4].replace(sys.prefix, "")


def test_containers_of_graders_that_are_gone_are_removed(programs, tmp_path):
    with take_turn("a batch", False, lambda: False) as ours:
        names = " ".join(f"elfw-grading-{number}" for number in (ours, ours + 400, "of-another"))
        script = ENGINE.format(log=tmp_path / "calls").replace(
            "    image)", f"    ps) echo {names} ;;\n    image)"
        )
        install(programs, "docker", script)
        Sandbox("docker", ()).remove_left_over()
    assert (tmp_path / "calls").read_text("utf-8").splitlines()[1:] == [
        f"rm --force elfw-grading-{ours + 400}"
    ]


def test_only_python_package_and_data_can_be_seen():
    places = visible_paths()
    for inside in (project_folder() / "elfw_helpers", project_folder() / "data", Path(sys.prefix)):
        assert any(inside.is_relative_to(place) for place in (*places, Path("/usr"))), inside
    for outside in ("grading", "notebooks", "tests", ".git", "build"):
        assert not any((project_folder() / outside).is_relative_to(place) for place in places), outside


def test_submissions_key_and_grades_must_not_lie_where_they_can_be_seen(submissions, capsys):
    visible = Sandbox("bubblewrap", (submissions.parent,))
    with pytest.raises(ElfwError, match="which submissions can read"):
        refuse_exposed(visible, submissions)
    refuse_exposed(visible, Path("/elsewhere"))
    with pytest.raises(ElfwError, match="which submissions can read"):
        refuse_exposed(visible, Path("/usr/share/key.toml"))


def test_environment_holds_nothing_of_the_instructors(monkeypatch):
    monkeypatch.setenv("API_TOKEN", "secret")
    assert "secret" not in str(environment("/tmp"))
    assert "secret" not in str(Sandbox("bubblewrap", visible_paths()).command(0, MEMORY))


def test_filter_is_a_whole_program_and_none_for_a_processor_it_does_not_know(monkeypatch):
    for machine in seccomp.MACHINES:
        monkeypatch.setattr(seccomp.platform, "machine", lambda machine=machine: machine)
        absent = sum(None in numbers for numbers in seccomp.DENIED.values()) if machine == "aarch64" else 0
        assert len(seccomp.seccomp_filter()) == 8 * (len(seccomp.DENIED) - absent + len(seccomp.LOCAL) + 17)
    monkeypatch.setattr(seccomp.platform, "machine", lambda: "riscv64")
    assert seccomp.seccomp_filter() is None and seccomp.open_filter() is None


def test_session_answers_and_ends_with_all_it_started():
    others = descendants(os.getpid())  # that tests before this one have left
    with Session(Sandbox("unsandboxed", ()), 0, MEMORY) as session:
        assert session.ask("setup", [b"x = 2"], 30) == ("done", "")
        assert ask_for_cell(session, "y = x + 1") == ("done", "")
        assert session.ask("probe", [b"y", b"z = y", b"[x, z]", b""], 30) == (
            "value",
            ["list", [["int", 2], ["int", 3]]],
        )
        assert session.ask("probe", [b"gone", b"", b"gone", b""], 30) == ("undefined", "")
        assert ask_for_cell(session, "raise ValueError(3)") == ("raised", "ValueError")
        start = "import subprocess\nsubprocess.Popen(['sleep', '1000'])"
        assert ask_for_cell(session, start) == ("done", "")
        below = set(descendants(os.getpid())) - set(others)
        assert len(below) >= 2, "the runner, and what its code started"
        with pytest.raises(RunEnded, match="took too long"):
            ask_for_cell(session, "while True: pass", 0.2)
    assert not [process for process in below if is_alive(process)]


def test_hidden_inputs_reach_probes_only():
    import io

    import numpy as np

    stream = io.BytesIO()
    np.savez(stream, images=np.arange(6).reshape(2, 3))
    with Session(Sandbox("unsandboxed", ()), 0, MEMORY) as session:
        session.ask("setup", [b"import numpy as np"], 30)
        ask_for_cell(session, "def total(images): return [int(image.sum()) for image in images]")
        call = [b"total", b"", b"total(hidden['images'])", stream.getvalue()]
        assert session.ask("probe", call, 30) == ("value", ["list", [["int", 3], ["int", 12]]])
        assert ask_for_cell(session, "hidden") == ("raised", "NameError")


def test_memory_is_what_a_process_holds():
    assert 1 << 20 < proportional_memory(os.getpid()) <= resident_memory(os.getpid()) + (1 << 20)
    assert proportional_memory(2**22 + 1) == 0


@needs_sandbox
@pytest.mark.parametrize(
    ("jobs", "sent"), [("1", signal.SIGKILL), ("2", signal.SIGKILL), ("2", signal.SIGINT)], ids=str
)
def test_nothing_survives_a_grader_that_is_killed_or_interrupted(submissions, jobs, sent):
    cells = honest_cells(conv_output_size="import os\nwhile [os.fork()]:\n    while True: pass")
    (submissions / "ann.ipynb").write_text(json.dumps(notebook(cells)), encoding="utf-8")
    key = submissions.parent / "key.toml"
    key.write_text(key.read_text(encoding="utf-8").replace("seconds = 3", "seconds = 300"), encoding="utf-8")
    code = "import signal, elfw_course.cli as cli; signal.signal(signal.SIGINT, signal.default_int_handler)"
    command = [sys.executable, "-c", f"{code}; cli.main()", "grade", str(key), str(submissions)]
    command += ["--jobs", jobs, "--out", str(submissions.parent / "out")]
    grader = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 30
    while len(below := list(filter(is_sandbox, descendants(grader.pid)))) < 4 and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(below) >= 4, "bubblewrap, the first of its namespace, the runner and its fork"
    grader.send_signal(sent)
    grader.wait()
    while any(is_alive(process) for process in below) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not [process for process in below if is_alive(process)]


def is_sandbox(process: int) -> bool:
    """Say whether a process is bubblewrap, or the runner inside."""
    try:
        return RUNNER.encode() in Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False


def is_alive(process: int) -> bool:
    """Say whether a process runs; one that is only waiting for its exit code to be read does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
