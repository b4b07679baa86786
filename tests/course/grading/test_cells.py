"""Cells as Jupyter runs them, by the runner that is in a sandbox otherwise: the code is this test's own."""

from __future__ import annotations

import json
import sys

import pytest

from elfw_course.grading.inside.magics import parse_cell
from elfw_course.grading.inside.runner import Runner, error_name, read_names
from tests.course.grading.sandboxes import run_cell


@pytest.fixture(autouse=True)
def leave_colab():
    """Take away the modules of Colab that a runner stands in for."""
    yield
    for name in [name for name in sys.modules if name.startswith("google.colab")]:
        del sys.modules[name]


@pytest.fixture
def runner(tmp_path, monkeypatch) -> Runner:
    """A runner whose cells are those of `__main__`, in a folder of its own."""
    runner = Runner()
    runner.set_up("import torch")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "__main__", runner.main)
    return runner


def run(runner: Runner, *cells: str) -> dict:
    """Run cells and return the names that there are then."""
    for cell in cells:
        run_cell(runner, cell)
    return runner.names


@pytest.mark.parametrize(
    "cell",
    [
        "!pip install x \\\n  --quiet\n%matplotlib inline\nif True:\n    !ls\nx = 3\nmath?\n?math",
        "x = 3\n%time y = x",
        "%time x = 3",
        "%%time\nx = 3",
        "\n\n%%timeit -n 3 -r 1\nx = 3",
        "%%capture -q\n%%time\nx = 3",
        "# a comment\n%%time\nx = 3",
        "%cd ..\n%load_ext autoreload\n%autoreload 2\nx = 3",
        "x = (7\n  % 4)",
        "y = 7\nx = y \\\n  % 4",
        'y = """\n!ls\n%time\n"""\nx = 3 if y == "\\n!ls\\n%time\\n" else 4',
        "  x = 1\n  x += 2",
        ">>> x = 3",
        "\fx = 3",
        "if True:\n\tx = 3",
        "x = int(__import__('os').environ.setdefault('ELFW_TRIED', '3'))",
        "[x] = map(int, [3])",
        "import asyncio\nawait asyncio.sleep(0)\nx = 3",
        "import asyncio\nasync def three(): return 3\ntask = asyncio.create_task(three())\nx = await task",
        "async def three():\n    yield 3\nasync for x in three(): pass",
        "async def three():\n    yield 3\n[x] = [y async for y in three()]",
        "3\nx = _",
        "display(3)\nx = 3",
        "get_ipython().run_cell_magic(magic_name='time', line='', cell='x = 3')",
        "cell = 'x = 3'\nget_ipython().run_cell_magic('time', '', cell)",
        "get_ipython().run_cell_magic('time', '', cell='x = 3')",
        "from IPython import get_ipython\nget_ipython().run_line_magic('time', 'x = 3')\n%matplotlib inline",
    ],
)
def test_a_cell_that_jupyter_runs_runs_here(runner, cell):
    assert run(runner, cell)["x"] == 3


def test_after_a_cell_magic_of_another_language_comes_no_python(runner):
    assert "x" not in run(runner, "%%bash\nx = 1\nrm -rf /", "%%html\nx = 1")


def test_what_is_no_python_is_a_syntax_error(runner):
    for cell in ("retrun 3", "x = '\0'", "%%time\nretrun 3", "if True:\nx = 3"):
        with pytest.raises(SyntaxError):
            parse_cell(cell)


@pytest.mark.parametrize(
    "cell",
    ["%pwd", "!ls", "x = %pwd", "x = 1\nx?", "?x", ",abs a b", ";abs a", "\n  /abs 3", "  x = 1\n  y = 2"]
    + ["\n \n\tx = 3", ">>> if x:\n...     y = 1", "In [3]: def f(x):\n   ...:     return x", "%%bash\nls"],
)
def test_all_that_ipython_rewrites_is_rewritten(cell):
    with pytest.raises(SyntaxError):
        compile(cell, "<cell>", "exec")
    assert parse_cell(cell)[0]


@pytest.mark.parametrize("cell", ["retrun 3", '"' * 999_999, "a," * 500_000 + "=", "def " * 250_000])
def test_what_ipython_would_not_rewrite_is_not_read_by_it(cell, monkeypatch):
    # On Python 3.12.1 that takes 20 seconds of a line of a million quotes.
    monkeypatch.setitem(sys.modules, "IPython.core.inputtransformer2", None)
    with pytest.raises(SyntaxError):
        parse_cell(cell)


def test_magics_have_values(runner, tmp_path):
    names = run(
        runner,
        "size = 3\nlines = !echo {size} $size; echo two\ngone = !gone 2> /dev/null",
        "items = {}\nitems['a'] = !echo x",
        "%env ELFW_TRIED=a b\n%set_env ELFW_TOO c\nhere = %pwd\ntried = %env ELFW_TRIED",
        "%%capture out\nprint(3)",
    )
    assert (names["lines"], names["lines"].n, names["items"]["a"].s) == (["3 3", "two"], "3 3\ntwo", "x")
    assert (names["tried"], names["here"], names["gone"]) == ("a b", str(tmp_path), [])
    assert names["out"].stdout == ""
    assert run(runner, "%%capture --no-stderr out\nprint(3)")["out"].stdout == ""
    names = run(runner, "xs = [1, 2]\nsize = !echo {len(xs)} {xs[-1]}\nlast = !echo 3 4 | awk '{print $2}'")
    assert (names["size"], names["last"]) == (["2 2"], ["4"])
    assert (
        run(runner, "import os\ntoo = os.environ.pop('ELFW_TOO') + os.environ.pop('ELFW_TRIED')")["too"]
        == "ca b"
    )


def test_files_written_by_a_cell_are_imported_and_run(runner):
    names = run(
        runner,
        "%%writefile elfw_written.py\nx = 3",
        "%%writefile -a elfw_written.py\ny = x + 1",
        "from elfw_written import y\n%run -i elfw_written with arguments",
        "!mkdir elfw_parts",
        "%%writefile 'elfw_parts/inner.py'\nz = 5",
        "from elfw_parts.inner import z",
    )
    assert (names["x"], names["y"], names["z"]) == (3, 4, 5)


def test_flags_of_the_compiler_are_carried_on(runner):
    names = run(runner, "from __future__ import annotations", "def f(x: Unknown): pass")
    assert names["f"].__annotations__ == {"x": "Unknown"}


def test_classes_can_be_saved_and_functions_scripted(runner):
    names = run(
        runner,
        "class Net(torch.nn.Module):\n    def forward(self, x):\n        return x + 1",
        "import inspect, pickle\ntorch.save(Net(), 'net.pt')\nnet = torch.load('net.pt', weights_only=False)",
        "again = pickle.loads(pickle.dumps(net))\nscripted = torch.jit.script(net)\n%time pass",
        "%%time\ndef f():\n    return 3\nsource = inspect.getsource(f)",
    )
    assert names["again"](1) == 2 and names["scripted"](names["torch"].tensor(1)) == 2
    assert names["source"] == "def f():\n    return 3\n"


def test_statements_run_one_by_one(runner):
    kinds = json.loads(runner.open_cell("print(gone)\ndef f(): return 3\nreturn\nx = f()\nf()"))
    assert kinds == ["trial", "definition", "trial", "assignment", "trial"]
    for place in (0, 2):
        with pytest.raises((NameError, SyntaxError)):
            runner.run_statement(str(place))
    for place in (1, 3):
        runner.run_statement(str(place))
    assert runner.names["x"] == 3


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("try:\n    import math\nexcept ImportError:\n    math = None", "definition"),
        ("with open('x') as stream:\n    def f(): pass", "definition"),
        ("match 1:\n    case 1:\n        class A: pass", "definition"),
        ("for name in 'ab':\n    table[name] = 1", "assignment"),
        ("total += 1", "assignment"),
        ("(one := 1)", "assignment"),
        ("if True:\n    print(3)", "trial"),
        ("[x for x in range(3)]", "trial"),
        ("run(lambda: (y := 3))", "trial"),
    ],
)
def test_what_a_statement_makes_inside_is_not_lost_as_a_trial(statement, kind):
    assert json.loads(Runner().open_cell(statement)) == [kind]


def test_of_a_check_only_what_a_student_added_is_run(runner):
    check = "# check: f\ntrial = gone()\nassert f() == 3"
    kinds = runner.open_cell(f"# check: f\nimport math\nx = 3\n{check}\nprint(x)", check)
    assert json.loads(kinds) == ["definition", "assignment"]
    nested = "if True:\n    def f(): return 3\nassert f()\nf()"
    assert json.loads(runner.open_cell(f"{check}\n{nested}", check)) == ["definition"]


def test_of_a_check_that_is_wrapped_only_what_a_student_added_is_run(runner):
    plain = "# check: f\ntrial = gone()\nassert f() == 3"
    inside = "    trial = gone()\n    assert f() == 3"
    wrapped = f"# check: f\nfrom a import check_exercise\nwith check_exercise('f'):\n{inside}"
    for given in (plain, wrapped):
        for mine in (plain, wrapped):
            added = "    x = 3" if mine is wrapped else "x = 3"
            kinds = runner.open_cell(f"{mine}\n{added}\ny: int", "from a import check_exercise\n" + given)
            assert json.loads(kinds) == ["assignment", "assignment"]
    assert json.loads(runner.open_cell(f"with open('x'):\n{inside}", wrapped)) == ["assignment"]


def test_an_answer_that_needs_what_is_further_down_is_given_when_asked_again(runner):
    run(runner, "def f():\n    return helper()")
    with pytest.raises(NameError):
        runner.probe("f", "", "f()", b"")
    run(runner, "def helper():\n    return 3", "f = f()")
    assert runner.probe("f", "", "f()", b"") == '["int",3]', "and it is about the f of before"


def test_code_of_the_lecture_that_fails_takes_no_other_with_it():
    runner = Runner()
    runner.set_up("y = x", "def f(x=tensors): pass\nx = 3")
    assert runner.names["y"] == 3


@pytest.mark.parametrize("colab", [False, True])
def test_colab_is_there_for_who_worked_on_it(colab):
    runner = Runner()
    runner.set_up("", "", "colab" * colab)
    asks = "try:\n    from google.colab import drive\n    x = True\nexcept ImportError:\n    x = False"
    names = run(runner, asks, "import sys\ny = 'google.colab' in sys.modules")
    assert (names["x"], names["y"]) == (colab, colab)


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ("json.loads('{')", "ValueError"),
        ("b'\\xff'.decode()", "UnicodeDecodeError"),
        ("raise type('Own', (KeyError,), {})", "KeyError"),
        ("raise type('Own', (Exception,), {})", "another error"),
        ("raise Exception", "Exception"),
    ],
)
def test_an_error_of_a_library_is_named_by_that_of_python_it_is_built_on(runner, code, name):
    with pytest.raises(Exception) as raised:
        run(runner, f"import json\n{code}")
    assert error_name(raised.type) == name


def test_names_are_read_from_the_syntax_tree():
    def read(source):
        return [set(names) for names in json.loads(read_names(source, {"math", "torch", "ATTRIBUTES"}))]

    assert read("def f(x, y=math.pi):\n    global z\n    z = [torch for torch in x]") == [
        {"f", "z"}, {"math"}, {"math"},
    ]  # fmt: skip
    assert read('x = f"{math.e:{torch}}" + "# ATTRIBUTES"')[2] == {"math", "torch", "ATTRIBUTES"}
    assert read("class A(torch.nn.Module):\n    'math'\n    import math") == [{"A"}, {"torch"}, {"torch"}]
    assert read("%time f(math)")[2] == {"math"} and read("%%time\nf = math")[0] == {"f"}
    assert read("import os.path, math as m\ndel f\nx = 1\ndel x") == [{"os", "m", "x"}, set(), set()]
    for source in ("retrun math", "x = '\0'", "(" * 10_000, "-" * 100_000 + "1"):
        assert read(source) == [set()] * 3


def test_names_are_read_where_symtable_knows_no_await(monkeypatch):
    def refuse(*arguments):
        raise SyntaxError("'await' outside function")

    monkeypatch.setattr("symtable.symtable", refuse)
    source = "import os.path\nasync def f(): return math.pi\nx = await f()"
    assert json.loads(read_names(source, {"math"})) == [["f", "os", "x"], ["math"], ["math"]]


def test_a_deeper_recursion_that_a_student_allows_stays_allowed(runner):
    limit = sys.getrecursionlimit()
    try:
        run(runner, "import sys\nsys.setrecursionlimit(20_000)\ndef f(n=2000): return n and f(n - 1)")
        assert runner.probe("f", "", "f()", b"") == '["int",0]'
        run(runner, "sys.setrecursionlimit(100)", "def g(n=500): return n and g(n - 1)")
        assert runner.probe("g", "", "g()", b"") == '["int",0]'
    finally:
        sys.setrecursionlimit(limit)
