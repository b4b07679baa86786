"""Fingerprints of whatever decides a result: values, objects, and the code that they run.

A stored result may be loaded instead of a new one only if nothing that decides it has changed. So a function
counts by its code, its defaults, its closure and the globals that it names, and so do the functions that it
calls; an object by its class and its state; a module by its content, but an installed package by its version.
Nothing counts by its `repr`, which may hold an address, or by its name alone.
"""

from __future__ import annotations

import builtins
import copyreg
import dis
import functools
import hashlib
import importlib
import importlib.metadata
import marshal
import os
import platform
import random
import sys
import types
from collections import ChainMap, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from elfw_helpers.utils.errors import ElfwError
from elfw_helpers.utils.memory import RELEASE_AFTER, release_pages

PACKAGE = __name__.partition(".")[0]
# What these functions read or run is found nowhere in the code that calls them (`model.eval()` is harmless).
UNSEEN_ATTRIBUTES = (
    *("open", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "imread", "read_csv", "read_text"),
    *("read_bytes", "read_image", "environ", "getenv", "import_module", "set_default_dtype"),
)
UNSEEN = ("eval", "exec", "globals", "vars", "__import__", "input", *UNSEEN_ATTRIBUTES)
OUTSIDE = "may depend on anything outside the code"
SEEDED = "Draw with the torch.Generator that an augmentation is given, or with torch.rand inside a network"
GLOBALS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
VARIABLES = (*GLOBALS, "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_DEREF")
# What Python 3.13 and 3.14 do in one step with two variables.
JOINED = {
    "STORE_FAST_LOAD_FAST": ("STORE_FAST", "LOAD_FAST"),
    "STORE_FAST_STORE_FAST": ("STORE_FAST", "STORE_FAST"),
    "LOAD_FAST_LOAD_FAST": ("LOAD_FAST", "LOAD_FAST"),
    "LOAD_FAST_BORROW_LOAD_FAST_BORROW": ("LOAD_FAST_BORROW", "LOAD_FAST_BORROW"),
}
# Two equal values of these types are one; of other objects it also counts whether they are the same object.
PLAIN = (type(None), type(Ellipsis), bool, int, float, complex, str, bytes)
CODE_FACTS = (
    *("co_code", "co_names", "co_varnames", "co_freevars", "co_cellvars", "co_flags"),
    *("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_exceptiontable"),
)
# What Python's own wrappers hold; pickle cannot take them apart.
WRAPPERS = {
    types.MethodType: ("__func__", "__self__"),
    property: ("fget", "fset", "fdel"),
    staticmethod: ("__func__",),
    classmethod: ("__func__",),
    functools.cached_property: ("func",),
    functools._lru_cache_wrapper: ("__wrapped__",),
    types.GetSetDescriptorType: ("__name__", "__objclass__"),
    types.ClassMethodDescriptorType: ("__name__", "__objclass__"),
}
# What Python adds to a class: it decides nothing, or is in the class's code and bases as well. __slotnames__
# comes once an object is pickled. _backward_cls is torch's, in autograd.Function, and holds a running number.
NOTED = (
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__"),
    *("__dataclass_fields__", "__dataclass_params__", "__orig_bases__", "__parameters__"),
    *("__abstractmethods__", "_abc_impl", "__slotnames__", "_backward_cls"),
)
# Py_TPFLAGS_HEAPTYPE: the type was made by a class statement; others are written in C and cannot be changed.
HEAP_TYPE = 1 << 9


class FingerprintError(ElfwError, TypeError):
    """Something that decides a result cannot be distinguished from others of its kind."""


class FingerprintWarning(UserWarning):
    """A result is not stored, because nobody could say later whether it is still the right one."""


def fingerprint(*values: Any) -> str:
    """Return 16 hexadecimal digits that are the same, in any process, only for the same values and code.

    Args:
        values: tensors, arrays, numbers, words, containers, functions, classes, and objects that pickle
            could take apart, modules of torch among them.

    Raises:
        FingerprintError: something in them cannot be inspected, such as an open file or a generator.
    """
    checksum = Checksum()
    try:
        # torch's default type is that of every new tensor.
        checksum.add_all((torch.get_default_dtype(), values))
    except RecursionError as error:
        raise FingerprintError("something is nested too deeply to be looked through") from error
    return checksum.digest.hexdigest()[:16]


class Checksum:
    """One checksum of all values added; an object goes in as a number, and its parts follow in its turn.

    Attributes:
        digest: the checksum so far.
        met: number and object by `id`; holding the object keeps its `id` from being given away.
        waiting: objects met whose parts are not added yet; so nesting may be of any depth.
        modules: those added so far, but for installed ones.
        named: names and words in the code added so far.
    """

    def __init__(self):
        self.digest = hashlib.sha256()
        self.met: dict[int, tuple[int, Any]] = {}
        self.waiting: deque[Any] = deque()
        self.modules: list[types.ModuleType] = []
        self.named: set[str] = set()

    def add_all(self, value: Any) -> None:
        """Add a value and all that can be reached from it."""
        self.add(value)
        while self.waiting:
            self.add_parts(self.waiting.popleft())
            # Of the modules inside a module, only those that some code names decide anything.
            for module in () if self.waiting else self.modules:
                for name in sorted(self.named & vars(module).keys()):
                    if isinstance(vars(module)[name], types.ModuleType):
                        self.add((module.__name__, name, vars(module)[name]))

    def add_parts(self, value: Any) -> None:
        """Add what decides an object."""
        describe = next(describe for kind, describe in DESCRIBE.items() if isinstance(value, kind))
        self.add(describe(value))
        if isinstance(value, types.CodeType):
            # Words count as names too, for `getattr(module, "name")`.
            self.named.update(name for name in (*value.co_names, *value.co_consts) if type(name) is str)
        elif isinstance(value, types.ModuleType) and not is_installed(value.__name__):
            self.modules.append(value)

    def add(self, value: Any) -> None:
        """Add a value: plain ones as they are, all others by their number."""
        kind = type(value)
        if kind in PLAIN:
            # Version 2 has no references, which would depend on how often a value is used elsewhere.
            self.digest.update(marshal.dumps(value, 2))
        elif kind in (tuple, set, frozenset):
            self.digest.update(f"{kind.__name__} {len(value)} ".encode())
            for item in value if kind is tuple else sorted(map(fingerprint, value)):
                self.add(item)
        else:
            if id(value) not in self.met:
                self.met[id(value)] = len(self.met), value
                self.waiting.append(value)
            self.digest.update(f"object {self.met[id(value)][0]} ".encode())


def describe_tensor(tensor: Tensor) -> tuple:
    """Return a tensor's numbers, device, layout in memory, hooks, and whether it is trained."""
    try:
        values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().flatten()
        numbers = hashlib.sha256()
        for part in values.view(torch.uint8).split(RELEASE_AFTER):
            numbers.update(part.numpy())
            release_pages(values)
        facts = (str(tensor.dtype), tensor.device.type, tuple(tensor.shape), tensor.stride())
    except Exception as error:
        raise FingerprintError(f"a tensor's numbers cannot be read ({error})") from error
    hooks = tuple((tensor._backward_hooks or {}).values())
    return ("tensor", type(tensor), tensor.requires_grad, hooks, facts, numbers.digest())


def describe_network(network: nn.Module) -> tuple:
    """Return a network's class and state, without its mode and the numbers that torch gives its hooks."""
    # Recurrent networks say themselves what of them can be stored.
    state = network.__getstate__() if hasattr(network, "__getstate__") else vars(network)
    if isinstance(state, dict):
        hooks = {name for name, value in state.items() if "_hooks" in name and isinstance(value, dict)}
        state = {
            name: list(value.values()) if name in hooks else value
            for name, value in state.items()
            if name != "training"
        }
    return ("network", type(network), state)


def describe_function(function: types.FunctionType) -> tuple:
    """Return a function's code and all it can reach; of a function that a package has, the version."""
    module = function.__globals__.get("__name__")
    if not is_installed(module):
        reached = find_globals(function)
    elif find_named(module, function.__qualname__) is function:
        return describe_installed(module, function.__qualname__)
    else:
        # A wrapper that the package made: what it wraps is in its closure.
        reached = describe_installed(module)
    # What `functools.wraps` notes there is in the closure already.
    attributes = {name: value for name, value in vars(function).items() if name != "__wrapped__"}
    defaults = (function.__defaults__, function.__kwdefaults__)
    return ("function", function.__code__, *defaults, attributes, find_closed(function), reached)


def describe_code(code: types.CodeType) -> tuple:
    """Return what compiled code does, without its file and lines."""
    # The first constant may be the documentation, which no instruction loads.
    loaded = {step.arg for step in dis.get_instructions(code) if step.opcode in dis.hasconst}
    constants = tuple(code.co_consts[index] for index in sorted(loaded))
    return ("code", constants, *(getattr(code, name, None) for name in CODE_FACTS))


def describe_module(module: types.ModuleType) -> tuple:
    """Return what is in a module, but for the modules inside it; of an installed one, the version."""
    if is_installed(module.__name__):
        return describe_installed(module.__name__)
    own = {
        name: value
        for name, value in sorted(vars(module).items())
        if not name.startswith("__") and not isinstance(value, types.ModuleType)
    }
    return ("module", module.__name__, own)


def describe_class(kind: type) -> tuple:
    """Return a class's bases and all that it defines; of a class that a package has, the version."""
    # A few types written in C have no name of a module there.
    module = kind.__module__ if isinstance(kind.__module__, str) else "builtins"
    in_c = not kind.__flags__ & HEAP_TYPE
    if is_installed(module) and (in_c or find_named(module, kind.__qualname__) is kind):
        return describe_installed(module, kind.__qualname__)
    own = {name: value for name, value in vars(kind).items() if name not in NOTED}
    return ("class", kind.__qualname__, type(kind), kind.__bases__, own)


def describe_instance(value: Any) -> tuple:
    """Return an object's class and state, as pickle would take it apart; refuse it where pickle could not."""
    if any(value is state for state in (random._inst, np.random.mtrand._rand, os.environ)):
        raise FingerprintError(f"the {type(value).__name__} that all code shares {OUTSIDE}")
    for kind, names in WRAPPERS.items():
        if isinstance(value, kind):
            return (type(value), *(getattr(value, name) for name in names))
    try:
        reduce = copyreg.dispatch_table.get(type(value))
        parts = reduce(value) if reduce else value.__reduce_ex__(4)
    except Exception as error:
        found = f"an object of {type(value).__module__}.{type(value).__qualname__}"
        raise FingerprintError(f"{found} cannot be looked into ({error})") from error
    if isinstance(parts, str):
        module = getattr(value, "__module__", None) or type(value).__module__
        return describe_installed(module, parts) if is_installed(module) else (type(value), parts)
    # The third holds the state; what follows are the items of lists and dictionaries.
    return (type(value), *parts[:3], *(tuple(items or ()) for items in parts[3:5]))


# The first that fits an object describes it.
DESCRIBE = {
    torch.jit.ScriptModule: describe_instance,
    nn.Module: describe_network,
    Tensor: describe_tensor,
    types.FunctionType: describe_function,
    types.CodeType: describe_code,
    types.ModuleType: describe_module,
    type: describe_class,
    object: describe_instance,
}


def find_closed(function: types.FunctionType) -> dict[str, Any]:
    """Return the values that a function closes over, by name, but for those not given yet."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):
            found[name] = cell.cell_contents
    return found


def find_globals(function: types.FunctionType) -> tuple[dict[str, Any], list[types.ModuleType]]:
    """Return the globals that a function names, and the modules that it imports."""
    known = function.__globals__
    try:
        uses = list(find_uses(function.__code__, ChainMap(find_closed(function), known)))
    except (ImportError, ValueError) as error:
        found = f"{function.__qualname__} imports what cannot be found from here ({error})"
        raise FingerprintError(found) from error
    # This package's own files are part of the course: they do not change from run to run.
    if str(known.get("__name__")).partition(".")[0] != PACKAGE:
        check_uses(function.__qualname__, uses)
    loaded = sorted({name for kind, _, name in uses if kind == "global"})
    imported = [module for kind, module, _ in uses if kind == "import"]
    return {name: known[name] for name in loaded if name in known}, imported


def find_uses(code: types.CodeType, known: ChainMap) -> Iterator[tuple[str, Any, str]]:
    """Yield kind, value and name of what code uses, the functions and classes inside it included.

    A "global" with its value, an "import" with the module, an "attribute" with the module that has it (None
    where that is no module or not known). `known` is what the names around the code stand for.

    Raises:
        ImportError, ValueError: what it imports is not there.
    """
    known = ChainMap(dict.fromkeys(code.co_varnames), *known.maps)
    value = source = before = None
    for operation, name in list_steps(code):
        if operation == "IMPORT_NAME":
            value = source = importlib.import_module(name)
            yield "import", value, name
            if before is None:  # `import a.b` gives a; `from a.b import c` tells what it wants of a.b.
                value = source = sys.modules[name.partition(".")[0]]
                yield "import", value, name
        elif operation in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"):
            owner = source if operation == "IMPORT_FROM" else value
            owner = owner if isinstance(owner, types.ModuleType) else None
            yield "attribute", owner, name
            value = getattr(owner, name, None) if owner else None
        elif operation in VARIABLES:
            value = known.get(name, getattr(builtins, name, None))
            if operation in GLOBALS:
                yield "global", value, name
        elif operation in ("STORE_FAST", "STORE_NAME", "STORE_DEREF"):
            known[name] = value
        elif operation != "PUSH_NULL":
            value = None
        before = name
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from find_uses(constant, known)


def list_steps(code: types.CodeType) -> Iterator[tuple[str, Any]]:
    """Yield operation and argument of each step of code, with a variable at most."""
    for step in dis.get_instructions(code):
        if step.opname in JOINED:
            yield from zip(JOINED[step.opname], step.argval, strict=True)
        else:
            yield step.opname, step.argval


def check_uses(function: str, uses: Sequence[tuple[str, Any, str]]) -> None:
    """Raise FingerprintError if a function uses what its code does not show: files, or shared randomness."""
    for kind, value, name in uses:
        module = value.__name__ if isinstance(value, types.ModuleType) else None
        if kind == "global" and callable(value) and not isinstance(value, type):
            called = getattr(value, "__name__", name)
            if called in UNSEEN and is_installed(getattr(value, "__module__", None)):
                raise FingerprintError(f"{function} calls {name}(), which {OUTSIDE}")
        elif kind == "attribute" and module in ("random", "numpy.random"):
            if name != "default_rng" and not isinstance(getattr(value, name, None), type):
                raise FingerprintError(f"{function} uses {module}.{name}, which {OUTSIDE}. {SEEDED}")
        elif kind == "attribute" and name in UNSEEN_ATTRIBUTES and (not module or is_installed(module)):
            raise FingerprintError(f"{function} uses .{name}, which {OUTSIDE}")


def find_named(module: str, name: str) -> Any:
    """Return what a module has under a qualified name, None where there is nothing."""
    value = sys.modules.get(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def is_installed(module: str | None) -> bool:
    """Say whether a module is Python's or an installed package's, but not this one: its version tells all."""
    root = (module or "__main__").partition(".")[0]
    if root in (PACKAGE, "__main__"):
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    if root in sys.stdlib_module_names and (file is None or not file.endswith(".py")):
        return True
    # A module of one's own may be called like one of Python's.
    folders = Path(file or "").parents
    packages = {"site-packages", "dist-packages"}
    return Path(os.__file__).parent in folders or any(folder.name in packages for folder in folders)


def describe_installed(module: str, name: str = "") -> tuple[str, ...]:
    """Return a name in an installed module, and the version of its package; Python's for its own modules."""
    root = module.partition(".")[0]
    version = getattr(sys.modules.get(root), "__version__", None)
    if root in sys.stdlib_module_names:
        version = platform.python_version()
    elif not isinstance(version, str):
        try:
            version = importlib.metadata.version(root)
        except importlib.metadata.PackageNotFoundError as error:
            raise FingerprintError(f"the installed package {root} does not say its version") from error
    return ("installed", module, name, str(version))
