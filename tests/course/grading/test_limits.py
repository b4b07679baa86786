"""Submissions that freeze, exhaust or read out the grader, and what its limits are made of."""

from __future__ import annotations

import csv
import json
import math
import os
import re
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from elfw_course.grading import sandbox, turns
from elfw_course.grading.batch import grade_folder
from elfw_course.grading.exercises import Step
from elfw_course.grading.judge import judge, judge_text
from elfw_course.grading.key import Probe, read_key
from elfw_course.grading.questions import Answer
from elfw_course.grading.run import (
    COMMON_ERRORS,
    TRIES,
    Attempt,
    Findings,
    Omitted,
    error_name_to_tell,
)
from elfw_course.grading.sandbox import Sandbox, choose_sandbox
from elfw_course.grading.session import TOO_LONG, UNREADABLE, RunEnded, Session, _read_answer
from elfw_course.grading.submission import Cell
from elfw_course.grading.turns import Stopped, take_turn
from elfw_course.grading.watchdog import Clock, descendants, resident_and_peak
from tests.course.grading.hostile.starving import CASES, write_starving
from tests.course.grading.hostile.submissions import HONEST, honest_cells, marked, notebook, write_key
from tests.course.grading.sandboxes import needs_sandbox

PROBE = Probe("a probe", "f()", "", 1, 0, 1e-6, 1e-5, None, None, None, 0, 0)
SECRET = "ab" * 16
PRIME = 2**61 - 1  # Python's hash of an int is what is left of it by this one
UNSANDBOXED = Sandbox("unsandboxed", ())


@pytest.fixture(scope="module")
def graded(tmp_path_factory) -> tuple[dict[str, dict[str, str]], str]:
    """Rows and log of all starving submissions, graded as one batch of two jobs by a key of small limits."""
    root = tmp_path_factory.mktemp("starving")
    key, folder = write_starving(root)
    assert grade_folder(str(key), folder, root / "out", jobs=2) == 0
    with (root / "out" / "grades.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["student"]: row for row in csv.DictReader(stream)}
    return rows, (root / "out" / "log.jsonl").read_text(encoding="utf-8")


@needs_sandbox
@pytest.mark.parametrize("name", CASES)
def test_verdict(graded, name):
    case, row = CASES[name], graded[0][name]
    assert (row["status"], tuple(int(row[one]) for one in HONEST)) == (case.status, case.points), row
    assert case.flag in row["flags"]


@needs_sandbox
def test_peak_counts_what_no_process_shows(graded):
    for name in ("empty files", "links", "socket buffers", "tables of memory", "dropped and kept"):
        assert int(graded[0][name]["peak_mb"]) >= 50, name
    assert int(graded[0]["honest"]["peak_mb"]) == 50


@needs_sandbox
def test_log_tells_few_errors_apart(graded):
    told = set(re.findall(r'"problem": "(raised [^"]*)"', graded[1]))
    assert told <= {f"raised {kind.__name__}" for kind in COMMON_ERRORS} | {"raised another error"}


def test_only_common_errors_are_named_once_code_was_asked():
    assert error_name_to_tell("KeyError", False) == "KeyError"
    assert error_name_to_tell("UnboundLocalError", False) == "NameError"
    assert error_name_to_tell("BlockingIOError", False) == "another error"
    assert error_name_to_tell("BlockingIOError", True) == "BlockingIOError"
    for forged in ("SecretError", "print", "x" * 10**6, 3, None, ["KeyError"], {}):
        assert error_name_to_tell(forged, False) == error_name_to_tell(forged, True) == "another error"
    assert math.log2(len(COMMON_ERRORS) + 1) < 4, "bits that one answer tells"


def answer(content: str) -> bytes:
    """Return an answer as the runner, or who has read its secret, writes it."""
    return f'{{"secret":"{SECRET}","kind":"value","content":{content}}}'.encode()


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ('["array","x",[' + ",".join(["1e308"] * 6000) + "],[]]", {}),
        ('["array","x",[' + ",".join(["9" * 1300] * 9000) + "],[]]", {}),
        ('["array","x",[' + ",".join(["9" * 18] * 64) + "],[]]", {}),
        ('["array","x",[200000' + ",1" * 63 + "],[" + ",".join(["1"] * 200_000) + "]]", {"expect": [1] * 9}),
        ('["array","x",[9],[' + ",".join(['"0x' + "1" * 10**6 + 'p0"'] * 9) + "]]", {}),
        ('["dict",[' + ",".join(f'[["int",{n * PRIME}],["int",1]]' for n in range(60_000)) + "]]", {}),
        (
            '["dict",[' + ",".join(f'[["int",{n * PRIME}],["int",1]]' for n in range(60_000)) + "]]",
            {"expect": {"a": 1}},
        ),
        ('["list",[' * 90 + '["int",1],' * 90_000 + '["int",1]' + "]]" * 90, {"measure": "accuracy"}),
        ('["list",[' + ",".join(['["int",' + "7" * 4000 + "]"] * 4000) + "]]", {}),
        ('["int",' + "7" * 15_000_000 + "]", {}),
        ('["int",' + "7" * 15_000_000 + ".5]", {}),
        ("[" * 2_000_000, {}),
        ('["list",[' + "[]," * 3_000_000 + "[]]]", {}),
        ('"' + "x" * 15_000_000 + '"', {}),
    ],
    ids=range(14),
)  # fmt: skip
def test_forged_answers_cost_no_more_than_their_size(content, fields):
    line, start = answer(content), time.thread_time()
    kind, found = _read_answer(line, SECRET)
    assert judge_text(replace(PROBE, **{"expect": 3} | fields), Answer.from_content(found).value)
    assert kind == "value" and time.thread_time() - start < 2, "each took minutes, or gigabytes"


def test_who_knows_the_secret_has_answered():
    assert _read_answer(answer('["int",3]'), SECRET) == ("value", ["int", 3])
    assert _read_answer(answer("nonsense"), SECRET) == _read_answer(SECRET.encode(), SECRET) == UNREADABLE
    assert _read_answer(answer('["int",3]'), "cd" * 16) is None
    assert judge(PROBE, UNREADABLE[1]) == "its value cannot be read"


@pytest.mark.parametrize(
    ("expect", "pairs", "right"),
    [
        ({"a": 1}, [("a", 1)], True),
        ({"a": 1, "b": 2}, [("b", 2), ("a", 1)], True),
        ({"a": 1, "b": 2}, [("a", 1), ("a", 1)], False),
        ({"a": 1}, [("a", 1), ("b", 2)], False),
        ({}, [], True),
    ],
)
def test_dicts_are_compared_by_their_pairs(expect, pairs, right):
    content = ["dict", [[["str", key], ["int", value]] for key, value in pairs]]
    assert (judge(replace(PROBE, expect=expect), content) == "") == right


def start(code: str) -> subprocess.Popen:
    """Start a Python that runs some code after a line on its standard input."""
    return subprocess.Popen(
        [sys.executable, "-c", f"import os, time\ninput()\n{code}"], stdin=subprocess.PIPE
    )


def watch(code: str, until: float) -> tuple[Clock, float]:
    """Look at a process until it has used some time; return the clock, and the time of its processor."""
    process = start(code)
    clock, elapsed = Clock(process.pid, 0.1), time.monotonic()
    try:
        process.stdin.write(b"\n")
        process.stdin.flush()
        while clock.used < until and process.poll() is None:
            time.sleep(0.05)
            clock.look(time.monotonic() - elapsed)
            elapsed = time.monotonic()
        with open(f"/proc/{process.pid}/stat", encoding="utf-8") as stream:
            fields = stream.read().rpartition(")")[2].split()
        return clock, sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
    finally:
        for one in descendants(process.pid):
            os.kill(one, 9)
        process.kill()
        process.wait()
        process.stdin.close()


def test_time_is_that_of_the_processor_or_of_sleep():
    clock, processor = watch("while True: pass", 0.3)
    assert 0.3 <= clock.used <= processor + 0.15, "waiting for its turn is no fault of its own"
    clock, processor = watch("time.sleep(60)", 0.5)
    assert clock.used >= 0.5 and processor < 0.3


def test_time_of_children_counts_whoever_reaps_them():
    spin = "end = time.process_time() + .2\n    while time.process_time() < end: pass\n    os._exit(0)\n"
    fork = f"for _ in range(2):\n  if os.fork() == 0:\n    {spin}  os.wait()\ntime.sleep(60)"
    clock, _ = watch(fork, 0.5)
    assert clock._ticks / os.sysconf("SC_CLK_TCK") >= 0.3
    unreaped = fork.replace("os.wait()", "time.sleep(1)")
    clock, processor = watch(f"import signal\nsignal.signal(signal.SIGCHLD, signal.SIG_IGN)\n{unreaped}", 1.5)
    assert clock._ticks / os.sysconf("SC_CLK_TCK") >= processor + 0.1, (
        "of children that nobody reaped, what was seen"
    )


def test_memory_between_two_looks_is_seen():
    process = start("x = bytearray(200 << 20); x = None; print('.', flush=True); input()")
    try:
        process.stdin.write(b"\n")
        process.stdin.flush()
        deadline = time.monotonic() + 30
        while resident_and_peak(process.pid)[1] < 200 << 20 and time.monotonic() < deadline:
            time.sleep(0.01)
        resident, most, _ = resident_and_peak(process.pid)
        assert most > 200 << 20 and resident <= most
    finally:
        process.kill()
        process.wait()
        process.stdin.close()


@pytest.fixture
def folder(tmp_path):
    """A key of tiny limits, and a folder for submissions."""
    key = write_key(tmp_path)
    text = key.read_text(encoding="utf-8").replace("own_seconds = 4", "own_seconds = 0.4")
    key.write_text(text.replace("seconds = 3", "seconds = 0.2"), encoding="utf-8")
    (tmp_path / "submissions").mkdir()
    return tmp_path / "submissions"


def grade(folder, jobs: int = 1) -> dict[str, dict[str, str]]:
    """Grade this test's own harmless code, and return the rows."""
    out = folder.parent / "out"
    grade_folder(str(folder.parent / "key.toml"), folder, out, jobs, unsandboxed=True)
    with (out / "grades.csv").open(encoding="utf-8", newline="") as stream:
        return {row["student"]: row for row in csv.DictReader(stream)}


def test_a_submission_takes_at_most_what_its_key_allows(folder, monkeypatch):
    """Three loops, each tried twice, and cells that would sleep for most of the time before each try."""
    spent, ask = {}, Session.ask

    def note(self, verb, parts, seconds):
        try:
            return ask(self, verb, parts, seconds)
        finally:
            start = self.used if verb in ("names", "setup") else spent[self][0]
            spent[self] = (start, self.used)

    monkeypatch.setattr(Session, "ask", note)
    loops = [marked(name, f"def {name}(*values):\n    while True: pass") for name in HONEST]
    own = [{**loops[0], "source": f"import time\nx{place} = time.sleep(.1)"} for place in range(3)]
    (folder / "ann.ipynb").write_text(json.dumps(notebook([*own, *loops])), encoding="utf-8")
    row = grade(folder)["ann"]
    assert row["total"] == "0" and TOO_LONG in row["flags"]
    allowed = read_key(folder.parent / "key.toml").questions.seconds
    assert allowed == pytest.approx(0.4 + 3 * 0.2)
    used = [end - start for start, end in spent.values()]
    assert sum(used) <= TRIES * allowed + 0.08 * len(used), used


class Pretended:
    """A session that only notes what it is asked; each statement takes half a second."""

    def __init__(self, kinds: list[str]):
        self.kinds, self.spent, self.probed, self.given = kinds, 0.0, False, []

    def ask(self, verb, parts, seconds):
        if verb == "open":
            return "done", self.kinds
        self.given.append((int(parts[0]), seconds))
        self.spent += 0.5
        return "done", ""


def run_pretended(kinds: list[str], source: str = "x" * 9, own: float = 8) -> Pretended:
    """Run a cell that a student added, of statements of some kinds."""
    session = Pretended(kinds)
    assert Attempt(session, {}, own, {}, Omitted(), Findings()).run([Step(Cell("code", source))])
    return session


def test_helpers_are_made_when_the_time_of_trials_is_gone():
    session = run_pretended([*["trial"] * 4, "assignment", "definition"], own=2)
    assert session.given == [(0, 1), (1, 0.75), (2, 0.5), (3, 0.25), (4, 1), (5, 0.75)]


def test_a_forged_answer_has_no_more_statements_than_its_cell_has_characters():
    assert len(run_pretended(["definition"] * 10**6, "x = 3").given) == 5


def test_a_second_long_assignment_takes_no_definition_with_it():
    omitted, step = Omitted(), Step(Cell("code", ""))
    kinds = ["definition", "assignment", "trial", "assignment", "definition", "assignment"]
    omitted.add(step, 1, kinds)
    assert omitted.statements[step] == {1, 2} and not omitted.steps
    omitted.add(step, 3, kinds)
    assert omitted.statements[step] == {1, 2, 3, 5} and not omitted.steps
    omitted.add(step, 4, kinds)
    assert omitted.steps == {step}


def test_without_time_nothing_is_asked():
    with Session(UNSANDBOXED, 0, 1 << 30) as session:
        assert session.ask("setup", [b""], 30) == ("done", "")
        with pytest.raises(RunEnded, match=TOO_LONG):
            session.ask("setup", [b""], 0)
        session.last = session.used
        with pytest.raises(RunEnded, match=TOO_LONG):
            session.ask("setup", [b""], 30)


def test_what_is_used_after_time_was_up_is_not_charged(monkeypatch):
    """As where 28 processes keep the grader from its turn: it comes seconds late."""
    with Session(UNSANDBOXED, 0, 1 << 30) as session:
        session.ask("setup", [b"", b"", b""], 30)
        session.ask("open", [b"while True: pass", b""], 30)
        before, look = session.used, session._clock.look

        def come_late(elapsed):
            session._clock.used += 5
            return look(elapsed)

        monkeypatch.setattr(session._clock, "look", come_late)
        with pytest.raises(RunEnded, match=TOO_LONG):
            session.ask("statement", [b"0"], 0.2)
        assert session.used - before > 5 and session.spent - before == pytest.approx(0.2, abs=0.05)


def test_an_exercise_is_tried_alone_with_the_functions_of_the_others(folder, monkeypatch):
    ask, unlucky = Session.ask, iter([True])

    def ask_or_die(self, verb, parts, seconds):
        if verb == "probe" and parts[0] == b"probability_from_loss" and next(unlucky, False):
            raise RunEnded(TOO_LONG)
        return ask(self, verb, parts, seconds)

    monkeypatch.setattr(Session, "ask", ask_or_die)
    answer = "def probability_from_loss(loss):\n    return math.exp(-loss) * conv_output_size(1, 1, 1, 0)"
    cells = honest_cells(probability_from_loss=answer)
    (folder / "ann.ipynb").write_text(json.dumps(notebook(cells)), encoding="utf-8")
    row = grade(folder)["ann"]
    assert (row["status"], row["total"], next(unlucky, None)) == ("graded", "7", None)


def test_what_took_too_long_is_tried_once_more_alone(folder):
    """Submissions that hang where another runs beside them, by the files that each leaves while it runs."""
    key, stamps, runs = (folder.parent / name for name in ("key.toml", "stamps", "runs"))
    key.write_text(key.read_text(encoding="utf-8").replace("own_seconds = 0.4", "own_seconds = 4"), "utf-8")
    stamps.mkdir()
    hangs = f"    while beside: pass\n{HONEST['conv_output_size'].splitlines()[1]}"
    size = f"{HONEST['conv_output_size'].splitlines()[0]}\n{hangs}"
    for name in range(6):
        looks = f"""import time
from pathlib import Path
mine, beside = Path({str(stamps / str(name))!r}), []
_ = mine.touch(), open({str(runs)!r}, "a").write("x")
for _ in range(10):
    time.sleep(0.05)
    beside += [one for one in mine.parent.iterdir() if one != mine]
mine.unlink()"""
        cells = [{**marked("", ""), "source": looks}, *honest_cells(conv_output_size=size)]
        (folder / f"{name}.ipynb").write_text(json.dumps(notebook(cells)), encoding="utf-8")
    rows = grade(folder, jobs=3)
    assert runs.stat().st_size > len(rows), "some hung"
    assert [row["total"] for row in rows.values()] == ["7"] * 6, rows


@pytest.mark.parametrize(
    "size", [HONEST["conv_output_size"], "def conv_output_size(*numbers):\n    return helper(*numbers)"]
)
def test_an_exercise_that_was_only_unlucky_gets_its_points(folder, monkeypatch, size):
    ask, unlucky = Session.ask, iter([True])

    def ask_or_die(self, verb, parts, seconds):
        if verb == "probe" and next(unlucky, False):
            raise RunEnded(TOO_LONG)
        return ask(self, verb, parts, seconds)

    monkeypatch.setattr(Session, "ask", ask_or_die)
    helper = {**marked("", ""), "source": HONEST["conv_output_size"].replace("conv_output_size", "helper")}
    (folder / "ann.ipynb").write_text(
        json.dumps(notebook([helper, *honest_cells(conv_output_size=size)])), encoding="utf-8"
    )
    row = grade(folder)["ann"]
    assert (row["status"], row["total"], row["flags"]) == ("graded", "7", "")


def test_a_cell_that_was_starved_is_run_again(folder, monkeypatch):
    """Its helper would be gone, and with it the points of an exercise."""
    ask, unlucky = Session.ask, iter([True])

    def ask_or_starve(self, verb, parts, seconds):
        if verb == "statement" and next(unlucky, False):
            ended = RunEnded(TOO_LONG)
            ended.waited = True
            raise ended
        return ask(self, verb, parts, seconds)

    monkeypatch.setattr(Session, "ask", ask_or_starve)
    helper = {**marked("", ""), "source": HONEST["conv_output_size"].replace("conv_output_size", "helper")}
    cells = honest_cells(conv_output_size="def conv_output_size(*numbers):\n    return helper(*numbers)")
    (folder / "ann.ipynb").write_text(json.dumps(notebook([helper, *cells])), encoding="utf-8")
    row = grade(folder)["ann"]
    assert (row["status"], row["total"]) == ("graded", "7")
    assert next(unlucky, None) is None


def test_two_graders_on_one_machine_use_different_users(monkeypatch):
    with take_turn("one", False, lambda: False) as ours, take_turn("two", False, lambda: False) as theirs:
        assert ours != theirs
        monkeypatch.setattr(turns, "MOST_NUMBERS", max(ours, theirs) + 1)
        with pytest.raises(Stopped), take_turn("three", False, lambda: True):
            pass
    with take_turn("three", False, lambda: True) as again:
        assert again in (ours, theirs), "a number is free again once its submission has ended"


def test_who_is_alone_waits_for_all_others_of_its_batch_and_holds_up_the_next():
    with take_turn("one", False, lambda: False):
        with pytest.raises(Stopped), take_turn("one", True, lambda: True):
            pass
        with take_turn("another", True, lambda: True):
            pass
    with take_turn("one", True, lambda: True), pytest.raises(Stopped), take_turn("one", False, lambda: True):
        pass


def test_systemd_caps_what_it_can(tmp_path, monkeypatch):
    script, log = tmp_path / "systemd-run", tmp_path / "calls"
    script.write_text(
        f'#!/bin/sh\necho "$@" >> {log}\nwhile [ "$1" != -- ]; do shift; done; shift; exec "$@"\n',
        encoding="utf-8",
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(sandbox, "_try_bubblewrap", lambda: None)
    monkeypatch.setattr(sandbox.shutil, "which", lambda name: f"/usr/bin/{name}")
    capped = choose_sandbox(unsandboxed=False)
    assert capped.is_capped and "--scope" in log.read_text(encoding="utf-8")
    command = capped.command(0, 100 << 20)
    assert command[0] == "systemd-run" and command.index("--") < command.index("bwrap")
    limits = [option for option in command if option.startswith("--property=")]
    assert [name.split("=")[1] for name in limits] == ["MemoryMax", "MemorySwapMax", "TasksMax", "CPUQuota"]
    script.write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    assert not choose_sandbox(unsandboxed=False).is_capped, "no systemd runs here: on without"
