"""The commands: what they print, and their exit codes. What they do is tested where it is written."""

import errno
import os
import subprocess
import sys

import pytest
from typer.main import get_command

from elfw_course import cli
from elfw_course.cli import main
from elfw_helpers import __version__
from elfw_helpers.utils import paths
from elfw_helpers.utils.archive import list_folder, pack_folder, unpack_once


def test_version(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("studnet", "Did you mean 'student'"),
        ("check . --sheat x.png", "--sheet"),
        ("", "Missing command"),
        ("run --jobs 2", "No such option"),
        ("render --count many --out new", "--count"),
        ("pretrain unit", "'resnet18_attributes', 'efficient_unet'"),
    ],
)
def test_a_wrong_call_is_code_two_and_names_what_was_meant(call, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(call.split())
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and said in error and "Usage: elfw" in error and "Traceback" not in error


def test_help_is_quick_for_it_loads_nothing_heavy():
    script = "import sys; from elfw_course.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    script += "print(sorted({'torch', 'numpy', 'PIL', 'rich', 'nbformat', 'gradio'} & sys.modules.keys()))"
    said = subprocess.check_output([sys.executable, "-c", script], encoding="utf-8")
    assert "For students:" in said and said.endswith("\n[]\n")


def test_help_lists_each_command_once_by_who_needs_it():
    listed = [name for names in cli.GROUPS.values() for name in names.split()]
    assert sorted(listed) == sorted(get_command(cli.app).commands)


WRONG_NAMES = {
    "check nosuch": "no such folder",
    "check nosuch --sheet faces.png": "no such folder",
    "augment nosuch out --count 2": "no such folder",
    "augment set out --count 2 --objects hat": "an object is one of",
    "train nosuch --out new": "no such folder",
    "train set --out nosuch --resume": "no run to go on with",
    "predict nosuch.jpg nosuch --out new": "No such file",
    "predict set --out new": "holds no images",
    "predict set --out new --model nosuch": "Models by name: efficient_unet",
    "export nosuch out.onnx": "Models by name: efficient_unet",
    "prepare coco nosuch out": "no such folder",
    "prepare elfw nosuch out": "no such folder",
    "run nosuch": "There is no notebook",
    "slides nosuch": "There is no notebook",
    "address nosuch": "is no address",
    "grade 33 set --out new": "There is no answer key '33'",
    "grade 3 set --out new": "holds no .ipynb",
    "grade 03 nosuch --out new": "no such folder",
    "app --auth": "--auth needs ELFW_APP_AUTH=user:password",
}


# `notes` is a file of mine where folders are asked for, also as $ELFW_BUILD; `set` an empty folder.
WRONG_PLACES = {
    "predict notes --out notes/answers": "cannot be written into",
    "predict notes --out .": "holds notes, one of the photos",
    "augment set notes/copies --count 2": "cannot be written into",
    "augment set set/copies --count 2": "Name a folder beside it",
    "augment set . --count 2": "Name a folder beside it",
    "train set --out notes/run": "cannot be written into",
    "train set --out .": ".: is not empty",
    "export mini_network notes/mine.onnx": "cannot be written into",
    "export mini_network notes": "is there already. Overwrite it with --replace",
    "render --count 2 --out set --archive notes/set.zip": "cannot be written into",
    "prepare coco set notes/out": "cannot be written into",
    "run 3": "$ELFW_BUILD",
    "slides 3": "$ELFW_BUILD",
    "site": "$ELFW_BUILD",
    "check-site": "$ELFW_BUILD",
    "store-runs": "$ELFW_BUILD",
    "pretrain": "$ELFW_BUILD",
}


def test_a_wrong_name_or_place_is_told_before_torch_is_loaded(tmp_path):
    (tmp_path / "set").mkdir()
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    calls = WRONG_NAMES | WRONG_PLACES
    script = "import sys; from elfw_course.cli import main\n"
    script += f"for call in {list(calls)}:\n    print(main(call.split()), 'end', file=sys.stderr)\n"
    script += "print({'torch', 'nbconvert', 'cv2'} & sys.modules.keys())"
    command, environment = [sys.executable, "-c", script], os.environ | {"ELFW_BUILD": "notes"}
    options = {"cwd": tmp_path, "env": environment, "capture_output": True, "encoding": "utf-8"}
    done = subprocess.run(command, check=True, **options)
    assert done.stdout.endswith("\nset()\n"), done.stdout
    for (call, words), said in zip(calls.items(), done.stderr.split("end\n"), strict=False):
        assert words in said and said.split()[-1] in "12", call
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["notes", "set"]
    assert (tmp_path / "notes").read_text(encoding="utf-8") == "mine"


def test_an_interrupted_command_says_so(monkeypatch, capsys):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr("elfw_course.results.write_results", interrupt)
    assert main(["results"]) == 130
    assert capsys.readouterr().err == "elfw: interrupted\n"


def test_renders_a_set_that_the_check_finds_sound(tmp_path, capsys):
    assert main(["render", "--count", "40", "--size", "32", "--out", str(tmp_path / "set")]) == 0
    assert main(["check", str(tmp_path / "set")]) == 0
    assert "40 images, 40 of them readable" in capsys.readouterr().out


def test_packs_what_it_renders_and_overwrites_no_archive_unasked(tmp_path, capsys):
    packed = tmp_path / "set.zip"
    command = [
        "render",
        "--count",
        "2",
        "--size",
        "32",
        "--out",
        str(tmp_path / "set"),
        "--archive",
        str(packed),
    ]
    assert main(command) == 0
    # Of so few faces a list would be empty, and `elfw check` would complain of it.
    assert {path.name for path in (tmp_path / "set").glob("*.txt")} == {"labels.txt"}
    unpack_once(packed, tmp_path / "again")
    assert list_folder(tmp_path / "again") == list_folder(tmp_path / "set")
    packed.write_bytes(b"mine")
    capsys.readouterr()
    assert main(command) == 1
    assert says_one_line(capsys, packed, "is there already", "--replace")
    assert packed.read_bytes() == b"mine"
    assert main([*command, "--replace"]) == 0 and packed.stat().st_size > 1000


def test_a_command_that_names_the_courses_faces_unpacks_them(tmp_path, monkeypatch, capsys):
    main(["render", "--count", "2", "--size", "32", "--out", str(tmp_path / "made")])
    pack_folder(tmp_path / "made", tmp_path / "rendered_faces.zip")
    for module in (cli, paths):
        monkeypatch.setattr(module, "embedded_archive", lambda: tmp_path / "rendered_faces.zip")
    main(["check", str(tmp_path / "rendered_faces")])
    assert "2 images, 2 of them readable" in capsys.readouterr().out


def test_what_a_sparse_clone_left_out_is_one_line_with_the_command_that_fetches_it(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "elfw_course.results", None)
    assert main(["results"]) == 1
    assert says_one_line(capsys, "elfw: elfw_course.results is not here", "sparse-checkout disable")


@pytest.mark.parametrize("wrong", [["--size", "30"], ["--seed", "-1"], ["--count", "0"]])
def test_numbers_that_make_no_sense_are_refused_before_anything_is_written(tmp_path, capsys, wrong):
    arguments = ["render", "--count", "4", "--out", str(tmp_path / "set"), *wrong]
    assert main(arguments) == 2
    assert wrong[0].strip("-") in capsys.readouterr().err
    assert not (tmp_path / "set").exists()


@pytest.mark.parametrize("port", ["0", "65536"])
def test_a_port_that_there_cannot_be_is_refused(capsys, port):
    with pytest.raises(SystemExit) as ended:
        main(["app", "--port", port])
    assert ended.value.code == 2
    assert "'--port'" in capsys.readouterr().err


def test_folder_with_other_content_is_left_alone(tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("mine", encoding="utf-8")
    assert main(["render", "--count", "4", "--out", str(tmp_path)]) == 1
    assert "elfw: " in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


@pytest.fixture
def blocked(tmp_path):
    """A file where folders are asked for."""
    (tmp_path / "notes").write_text("mine", encoding="utf-8")
    return tmp_path / "notes"


def says_one_line(capsys, *words) -> bool:
    """Say whether one line went to stderr, with all of the words and no traceback."""
    said = capsys.readouterr().err
    return said.count("\n") == 1 and all(str(word) in said for word in words)


@pytest.mark.parametrize(
    "command",
    [
        "export mini_network {}/mine.onnx",
        "pretrain --faces 24 --out {}/mine.safetensors",
        "render --count 4 --size 32 --out {}/set",
        "augment data/rendered_faces {}/copies --count 2",
        "predict data/rendered_faces --out {}/answers",
        "check data/rendered_faces --sheet {}/sheet.png",
    ],
)
def test_a_place_that_cannot_be_written_is_one_line_before_any_work(
    blocked, monkeypatch, capsys, command, tmp_path
):
    monkeypatch.chdir(cli.project_folder())
    monkeypatch.setenv("ELFW_BUILD", str(tmp_path / "build"))
    assert main(command.format(blocked).split()) in (1, 2)
    assert says_one_line(capsys, "elfw", blocked, ". ")
    assert blocked.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("command", [["run"], ["run", "03"], ["pretrain"]])
def test_a_build_folder_that_cannot_be_written_says_how_to_name_another(
    blocked, monkeypatch, capsys, command
):
    monkeypatch.setenv("ELFW_BUILD", str(blocked))
    assert main(command) == 1
    assert says_one_line(capsys, blocked, "A file stands where a folder is needed", "$ELFW_BUILD")


@pytest.mark.parametrize(
    ("number", "fix"),
    [(errno.EACCES, "rights"), (errno.ENOSPC, "disk is full"), (errno.ENOENT, "Check the name")],
)
@pytest.mark.parametrize("command", ["results", "student"])
def test_whatever_the_system_refuses_is_one_line(monkeypatch, capsys, command, number, fix):
    def refuse(*_):
        raise OSError(number, os.strerror(number), "some/file")

    monkeypatch.setattr("elfw_course.results.write_results", refuse)
    monkeypatch.setattr("elfw_course.student.write_student_copies", refuse)
    assert main([command]) == 1
    assert says_one_line(capsys, "elfw: some/file: ", os.strerror(number), fix)


def run_printing(text: str, stdout, **environment) -> subprocess.CompletedProcess:
    """Run `elfw results`, which prints a text and does nothing else, in a process of its own."""
    script = "import sys, types; results = types.ModuleType('elfw_course.results'); "
    script += f"results.write_results = lambda _: print({text!r}); sys.modules[results.__name__] = results; "
    script += "from elfw_course import cli; sys.exit(cli.main(['results']))"
    command = [sys.executable, "-c", script]
    options = {"stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
    return subprocess.run(command, stdout=stdout, env=os.environ | environment, **options)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
def test_output_that_goes_nowhere_ends_the_command_without_a_traceback(unbuffered):
    reader, writer = os.pipe()
    os.close(reader)
    left = run_printing("all is well", writer, PYTHONUNBUFFERED=unbuffered)
    os.close(writer)
    assert (left.returncode, left.stderr) == (1, "")
    with open("/dev/full", "w", encoding="utf-8") as full:
        stopped = run_printing("all is well", full, PYTHONUNBUFFERED=unbuffered)
    assert stopped.returncode == 1
    assert stopped.stderr.startswith("elfw: the output: No space left on device. The disk is full")
    assert stopped.stderr.count("\n") == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="a full disk of Linux")
def test_help_that_cannot_be_printed_is_said_in_one_line():
    command = [sys.executable, "-m", "elfw_course.cli", "--help"]
    with open("/dev/full", "w", encoding="utf-8") as full:
        stopped = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, encoding="utf-8")
    assert stopped.stderr.startswith("elfw: the output: No space left on device")


def test_a_name_that_no_terminal_can_show_does_no_harm():
    done = run_printing("Jos\udce9.jpg", subprocess.PIPE)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "Jos\\udce9.jpg", "")


@pytest.mark.parametrize("system", ["win32", "darwin"])
def test_grading_says_that_it_needs_linux_and_loads_nothing_that_only_linux_has(monkeypatch, capsys, system):
    monkeypatch.setattr(sys, "platform", system)
    for module in ("resource", "fcntl", "pwd", "elfw_course.grading.batch"):
        monkeypatch.setitem(sys.modules, module, None)
    assert main(["grade", "03", "submissions", "--out", "grades"]) == 1
    assert capsys.readouterr().err.startswith("elfw: grading needs Linux")
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "grade" in capsys.readouterr().out
