"""Fingerprints of whatever decides a result: values, objects, and the code that they run.

A stored result may be loaded in the place of a new one only if nothing that decides it has changed. So a
function counts by its code, its defaults, what it closes over and the globals that it names, those of the
functions that it calls included; an object by its class and its state; a module by what is in it, but an
installed package by its version. Nothing counts by its `repr`, which may hold an address, nor by its name
alone.
"""

from __future__ import annotations

import builtins
import contextlib
import copyreg
import dis
import functools
import hashlib
import importlib
import importlib.metadata
import os
import platform
import random
import struct
import sys
import types
from collections import ChainMap, deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from elfw_helpers.utils.errors import ElfwError

PACKAGE = __name__.partition(".")[0]
# What such a function reads or runs is found nowhere in its code; `model.eval()` is another matter.
UNSEEN_ATTRIBUTES = (
    *("open", "load", "loadtxt", "genfromtxt", "fromfile", "memmap", "imread", "read_csv", "read_text"),
    *("read_bytes", "read_image", "environ", "getenv", "import_module", "set_default_dtype"),
)
OUTSIDE = "may depend on anything outside the code"
SEEDED = "Draw with the torch.Generator that an augmentation is given, or with torch.rand inside a network"
UNSEEN = ("eval", "exec", "globals", "vars", "__import__", "input", *UNSEEN_ATTRIBUTES)
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
VARIABLES = (*LOADS, "LOAD_FAST", "LOAD_FAST_CHECK", "LOAD_FAST_BORROW", "LOAD_DEREF")
# What Python notes down in a class: it decides nothing, or stands in the class's code and bases as well.
NOTED = (
    *("__module__", "__qualname__", "__doc__", "__dict__", "__weakref__", "__annotations__", "__annotate__"),
    *("__annotate_func__", "__annotations_cache__", "__firstlineno__", "__static_attributes__"),
    *("__dataclass_fields__", "__dataclass_params__", "__orig_bases__", "__parameters__"),
    *("__abstractmethods__", "_abc_impl"),
)
# Py_TPFLAGS_HEAPTYPE: the type was made by a class statement (or much as if).
HEAP_TYPE = 1 << 9
BUILT_IN = (
    types.BuiltinFunctionType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.ClassMethodDescriptorType,
)


class FingerprintError(ElfwError, TypeError):
    """Something decides a result and cannot be told apart from others of its kind."""


class FingerprintWarning(UserWarning):
    """A result is not stored, for nobody could say later whether it is still the right one."""


def fingerprint(*values: Any) -> str:
    """Return 16 hexadecimal digits that are the same, in any process, only for the same values and code.

    Args:
        values: tensors, arrays, numbers, words, containers, functions, classes, and objects that pickle
            could take apart, modules of torch among them.

    Raises:
        FingerprintError: something in them cannot be looked into, such as an open file or a generator.
    """
    description = Description()
    try:
        # torch's default type is that of every new tensor.
        description.add_all((torch.get_default_dtype(), values))
    except RecursionError as error:
        raise FingerprintError("something is nested too deeply to be looked through") from error
    return description.digest.hexdigest()[:16]


class Description:
    """Whatever is added goes into one checksum, an object as a number: what it holds follows in its turn.

    Attributes:
        digest: the checksum so far.
        met: number and object by `id`; holding the object keeps its `id` from being given away.
        waiting: objects met and not described yet; so the depth to which they hold each other has no bound.
        modules: those described so far, but for installed ones.
        inner: modules in those that were added, as (outer module, name).
        named: names and words in the code described so far.
    """

    def __init__(self):
        self.digest = hashlib.sha256()
        self.met: dict[int, tuple[int, Any]] = {}
        self.waiting: deque[Any] = deque()
        self.modules: list[types.ModuleType] = []
        self.inner: set[tuple[str, str]] = set()
        self.named: set[str] = set()

    def add_all(self, value: Any) -> None:
        """Add a value and all that can be reached from it."""
        self.add(value)
        while self.waiting:
            self.add_object(self.waiting.popleft())
            if not self.waiting:
                self.add_inner()

    def add_inner(self) -> None:
        """Add those modules in modules that code names: what else a package has inside, others may import."""
        for module in self.modules:
            for name, inner in sorted(vars(module).items()):
                place = (module.__name__, name)
                if isinstance(inner, types.ModuleType) and name in self.named and place not in self.inner:
                    self.inner.add(place)
                    self.add_values("inner", (*place, inner))

    def write(self, kind: str, content: bytes | np.ndarray = b"") -> None:
        """Add bytes, preceded by what they are and how many, so that no two sequences read the same."""
        self.digest.update(f"{kind} {len(content)} ".encode())
        self.digest.update(content)

    def add(self, value: Any) -> None:
        """Add a value of any type."""
        kind = type(value)
        if value is None or value is Ellipsis or kind in (bool, str):
            self.write(kind.__name__, str(value).encode("utf-8", "surrogatepass"))
        elif kind is int:
            self.write("int", hex(value).encode())
        elif kind in (float, complex):
            self.write(kind.__name__, struct.pack("<2d", value.real, value.imag))
        elif kind in (bytes, bytearray):
            self.write("bytes", value)
        elif kind in (tuple, frozenset, set):
            self.add_values(kind.__name__, value)
        else:
            if id(value) not in self.met:
                self.met[id(value)] = len(self.met), value
                self.waiting.append(value)
            self.add_values("object", (self.met[id(value)][0],))

    def add_values(self, kind: str, values: Any) -> None:
        """Add each of some values; those of a set in an order that is the same in every process."""
        self.write(kind, str(len(values)).encode())
        if kind in ("set", "frozenset"):
            values = sorted(fingerprint(value) for value in values)
        for value in values:
            self.add(value)

    def add_object(self, value: Any) -> None:
        """Add what has an identity: containers, arrays, code, and objects of any class."""
        if type(value) is list:
            self.add_values("list", value)
        elif type(value) is dict:
            self.add_values("dict", list(value.items()))
        elif isinstance(value, Tensor):
            self.add_tensor(value)
        elif isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            self.add_values("array", (type(value), str(value.dtype.descr), value.shape, value.tobytes()))
        elif isinstance(value, types.CodeType):
            self.add_code(value)
        elif isinstance(value, types.FunctionType):
            self.add_function(value)
        elif isinstance(value, types.MethodType):
            self.add_values("method", (value.__func__, value.__self__))
        elif isinstance(value, BUILT_IN):
            self.add_built_in(value)
        elif isinstance(value, type):
            self.add_class(value)
        elif isinstance(value, types.ModuleType):
            self.add_module(value)
        else:
            self.add_instance(value)

    def add_tensor(self, tensor: Tensor) -> None:
        """Add a tensor: where it is, how it lies in memory, whether it learns, its hooks and numbers."""
        try:
            values = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().flatten()
            numbers = values.view(torch.uint8).numpy()
            facts = (tensor.dtype, tensor.device.type, tuple(tensor.shape), tensor.stride())
        except Exception as error:
            raise FingerprintError(f"a tensor's numbers cannot be read ({error})") from error
        self.add_values("tensor", (type(tensor), tensor.requires_grad, *map(str, facts)))
        self.add(list((tensor._backward_hooks or {}).values()))
        self.write("numbers", numbers)

    def add_function(self, function: types.FunctionType) -> None:
        """Add a function of Python: one that an installed package has under its name by its version."""
        module = function.__globals__.get("__name__")
        if is_installed(module) and find_named(module, function.__qualname__) is function:
            self.add_installed(module, function.__qualname__)
            return
        self.add_values("function", (function.__code__, function.__defaults__, function.__kwdefaults__))
        # What `functools.wraps` notes there is in the closure already.
        self.add({name: value for name, value in vars(function).items() if name != "__wrapped__"})
        self.add(find_closed(function))
        if is_installed(module):
            # A wrapper that the package made: its code is the package's, what it wraps was in its closure.
            self.add_installed(module, "")
        else:
            self.add_globals(function)

    def add_code(self, code: types.CodeType) -> None:
        """Add compiled code: what it does, not where it stands."""
        instructions = list(dis.get_instructions(code))
        # The first constant may be the documentation, which no instruction loads.
        loaded = {instruction.arg for instruction in instructions if instruction.opcode in dis.hasconst}
        constants = tuple(code.co_consts[index] for index in sorted(loaded))
        facts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self.add_values("code", (code.co_code, constants, *names, *facts))
        self.add(getattr(code, "co_exceptiontable", b""))
        # Words count as names too, for `getattr(module, "name")`.
        self.named.update(code.co_names, (word for word in constants if isinstance(word, str)))

    def add_globals(self, function: types.FunctionType) -> None:
        """Add the globals that a function names, and what it imports."""
        known = function.__globals__
        try:
            uses = find_uses(function.__code__, ChainMap(find_closed(function), known))
        except (ImportError, ValueError) as error:
            found = f"{function.__qualname__} imports what cannot be found from here ({error})"
            raise FingerprintError(found) from error
        # This package's own files are part of the course: they do not change from run to run.
        if str(known.get("__name__")).partition(".")[0] != PACKAGE:
            check_uses(function.__qualname__, uses, known)
        self.add({name: known[name] for name in sorted(uses.loaded) if name in known})
        self.add_values("imported", uses.imported)

    def add_module(self, module: types.ModuleType) -> None:
        """Add a module: an installed one by its version, any other by all that is in it (see `add_inner`)."""
        if is_installed(module.__name__):
            self.add_installed(module.__name__, "")
            return
        self.modules.append(module)
        self.write("module", module.__name__.encode())
        for name, value in sorted(vars(module).items()):
            if not name.startswith("__") and not isinstance(value, types.ModuleType):
                self.add_values("attribute", (name, value))

    def add_class(self, kind: type) -> None:
        """Add a class: an installed one by its version, any other by its bases and all that it defines."""
        # Of a few types written in C it is not a word.
        module = kind.__module__ if isinstance(kind.__module__, str) else "builtins"
        if is_installed(module) and (is_static(kind) or find_named(module, kind.__qualname__) is kind):
            self.add_installed(module, kind.__qualname__)
            return
        self.add_values("class", (kind.__qualname__, type(kind), kind.__bases__))
        for name, value in vars(kind).items():
            if name not in NOTED:
                self.add_values("attribute", (name, value))

    def add_built_in(self, value: Any) -> None:
        """Add what is written in C, by its name, its package's version, and what it is bound to."""
        owner = getattr(value, "__self__", getattr(value, "__objclass__", None))
        bound = owner is not None and not isinstance(owner, type | types.ModuleType)
        module = getattr(value, "__module__", None) or getattr(owner, "__module__", None)
        known = isinstance(module, str) and is_installed(module)
        self.add_installed(module if known else "builtins", value.__qualname__)
        if bound:
            self.add(owner)

    def add_installed(self, module: str, name: str) -> None:
        """Add something that an installed package has, by its name and the package's version."""
        self.write("installed", f"{module} {name} {find_version(module)}".encode())

    def add_instance(self, value: Any) -> None:
        """Add an object by its class and its state, as pickle would take it apart.

        Raises:
            FingerprintError: pickle could not.
        """
        if any(value is state for state in (random._inst, np.random.mtrand._rand, os.environ)):
            raise FingerprintError(f"the {type(value).__name__} that all code shares {OUTSIDE}")
        if isinstance(value, nn.Module) and not isinstance(value, torch.jit.ScriptModule):
            self.add_values("network", (type(value), describe_module(value)))
            return
        try:
            parts = unwrap(value) or take_apart(value)
        except Exception as error:
            found = f"an object of {type(value).__module__}.{type(value).__qualname__}"
            raise FingerprintError(f"{found} cannot be looked into ({error})") from error
        if isinstance(parts, str):
            self.add_values("constant", (type(value), parts))
            return
        # The third holds the state; what follows are the items of lists and dictionaries.
        head, items = parts[:3], [list(part) if part is not None else None for part in parts[3:5]]
        self.add_values("instance", (type(value), *head, *items))


def unwrap(value: Any) -> tuple | None:
    """Return the functions that a wrapper of Python's own holds, or None if it is none."""
    if isinstance(value, property):
        return value.fget, value.fset, value.fdel
    if isinstance(value, staticmethod | classmethod):
        return (value.__func__,)
    if isinstance(value, functools.cached_property):
        return (value.func,)
    if isinstance(value, functools._lru_cache_wrapper):
        return (value.__wrapped__,)
    return None


def take_apart(value: Any) -> str | tuple:
    """Return what pickle would write down of an object: its name, or how to make it and its state."""
    reduce = copyreg.dispatch_table.get(type(value))
    return reduce(value) if reduce else value.__reduce_ex__(4)


def describe_module(module: nn.Module) -> dict[str, Any]:
    """Return what decides a network's answers: not in which mode it was left, nor its hooks' numbers."""
    # Recurrent ones know themselves what of them can be stored.
    state = module.__getstate__() if hasattr(module, "__getstate__") else vars(module)
    if not isinstance(state, dict):
        return {"state": state}
    return {
        name: list(value.values()) if "_hooks" in name and isinstance(value, dict) else value
        for name, value in state.items()
        if name != "training"
    }


def find_closed(function: types.FunctionType) -> dict[str, Any]:
    """Return the values that a function closes over, by name, but for those not given yet."""
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):
            found[name] = cell.cell_contents
    return found


class Uses(NamedTuple):
    """What code uses: globals that it loads, modules that it imports, and attributes that it takes.

    An attribute is the module that it is taken of, None where that is no module or not known, and its name.
    """

    loaded: set[str]
    imported: list[types.ModuleType]
    taken: list[tuple[types.ModuleType | None, str]]


def find_uses(code: types.CodeType, known: ChainMap) -> Uses:
    """Return what code uses, functions and classes inside it included.

    Args:
        code: of a function.
        known: what the names around it stand for.

    Raises:
        ImportError, ValueError: what it imports is not there.
    """
    uses, known = Uses(set(), [], []), ChainMap(dict.fromkeys(code.co_varnames), *known.maps)
    value = source = before = None
    for instruction in dis.get_instructions(code):
        operation, name = instruction.opname, instruction.argval
        if operation == "IMPORT_NAME":
            uses.imported.append(importlib.import_module(name))
            if before is None:  # `import a.b` gives a; `from a.b import c` tells what it wants of a.b.
                uses.imported.append(sys.modules[name.partition(".")[0]])
            value = source = uses.imported[-1]
        elif operation in ("LOAD_ATTR", "LOAD_METHOD", "IMPORT_FROM"):
            owner = source if operation == "IMPORT_FROM" else value
            owner = owner if isinstance(owner, types.ModuleType) else None
            uses.taken.append((owner, name))
            value = getattr(owner, name, None) if owner else None
        elif operation in VARIABLES:
            value = known.get(name)
            uses.loaded.update({name} if operation in LOADS else ())
        elif operation in ("STORE_FAST", "STORE_NAME", "STORE_DEREF"):
            known[name] = value
        elif operation != "PUSH_NULL":
            value = None
        before = name
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            inner = find_uses(constant, known)
            uses.loaded.update(inner.loaded)
            uses.imported.extend(inner.imported)
            uses.taken.extend(inner.taken)
    return uses


def check_uses(function: str, uses: Uses, known: Mapping[str, Any]) -> None:
    """Raise FingerprintError if a function uses what its code does not show: files, or shared randomness."""
    for name in sorted(uses.loaded):
        value = known.get(name, getattr(builtins, name, None))
        called = getattr(value, "__name__", name)
        is_function = isinstance(value, (types.FunctionType, types.MethodType, *BUILT_IN))
        if is_function and called in UNSEEN and is_installed(value.__module__):
            raise FingerprintError(f"{function} calls {name}(), which {OUTSIDE}")
    for owner, name in uses.taken:
        if owner in (random, np.random):
            if name != "default_rng" and not isinstance(getattr(owner, name, None), type):
                raise FingerprintError(f"{function} uses {owner.__name__}.{name}, which {OUTSIDE}. {SEEDED}")
        elif name in UNSEEN_ATTRIBUTES and (owner is None or is_installed(owner.__name__)):
            raise FingerprintError(f"{function} uses .{name}, which {OUTSIDE}")


def is_static(kind: type) -> bool:
    """Say whether a type is written in C: it has no code of Python's, and cannot be changed."""
    return not kind.__flags__ & HEAP_TYPE


def find_named(module: str, name: str) -> Any:
    """Return what a module has under a qualified name, None where there is nothing."""
    value = sys.modules.get(module)
    for part in name.split("."):
        value = getattr(value, part, None)
    return value


def is_installed(module: str | None) -> bool:
    """Say whether a module is Python's own or an installed package's: its version tells what it does.

    This package is not: whoever works on it changes it without a new version.
    """
    root = (module or "__main__").partition(".")[0]
    if root in (PACKAGE, "__main__"):
        return False
    file = getattr(sys.modules.get(root), "__file__", None)
    if root in sys.stdlib_module_names and (file is None or not file.endswith(".py")):
        return True
    # A module of one's own may be called like one of Python's.
    library = Path(os.__file__).parent
    packages = {"site-packages", "dist-packages"}
    return file is not None and (library in Path(file).parents or bool(packages & set(Path(file).parts)))


def find_version(module: str) -> str:
    """Return the version of an installed module's package; of Python for its own modules.

    Raises:
        FingerprintError: the package does not say.
    """
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names:
        return platform.python_version()
    version = getattr(sys.modules.get(root), "__version__", None)
    if isinstance(version, str):
        return str(version)
    try:
        return importlib.metadata.version(root)
    except importlib.metadata.PackageNotFoundError as error:
        raise FingerprintError(f"the installed package {root} does not say which version it is") from error
