"""Fingerprints of whatever decides a result: values, objects, and the code that they run.

A stored result may be loaded in the place of a new one only if nothing that decides it has changed. So a
function counts by its code, its defaults, what it closes over and the globals that it names, those of the
functions that it calls included; an object by its class and its state; an installed package by its version.
Nothing counts by its `repr`, which may hold an address, nor by its name alone.
"""

from __future__ import annotations

import contextlib
import copyreg
import dis
import functools
import hashlib
import importlib
import importlib.metadata
import platform
import struct
import sys
import types
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from elfw_helpers.errors import ElfwError

PACKAGE = __name__.partition(".")[0]
# What such a function reads or runs is found nowhere in its code.
UNSEEN = ("eval", "exec", "globals", "__import__", "input", "open")
LOADS = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")
# Functions that Python makes for annotations, which decide nothing.
ANNOTATIONS = ("__annotate__", "__annotate_func__")
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
        description.add(values)
    except RecursionError as error:
        raise FingerprintError("something is nested too deeply to be looked through") from error
    return description.digest.hexdigest()[:16]


class Description:
    """Whatever is added goes into one checksum; an object met again is named by the place where it was met.

    Attributes:
        digest: the checksum so far.
        met: number and object by `id`; holding the object keeps its `id` from being given away.
        taken: modules' attributes added so far, as (module, attribute).
    """

    def __init__(self):
        self.digest = hashlib.sha256()
        self.met: dict[int, tuple[int, Any]] = {}
        self.taken: set[tuple[str, str]] = set()

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
        elif id(value) in self.met:
            # Containers and objects may hold themselves, and functions call each other.
            self.add_values("met", (self.met[id(value)][0],))
        else:
            self.met[id(value)] = len(self.met), value
            self.add_object(value)

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
            # Held by an object: there is no telling what it takes of it.
            self.add_module(value, {name for name in vars(value) if not name.startswith("__")})
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
        self.add_named("closed over", find_closed(function), find_names(function.__code__).taken)
        if is_installed(module):
            # A wrapper that the package made: its code is the package's, what it wraps was in its closure.
            self.add_installed(module, "")
        else:
            self.add_globals(function)

    def add_code(self, code: types.CodeType) -> None:
        """Add compiled code: what it does, not where it stands."""
        facts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
        names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
        self.add_values("code", (code.co_code, code.co_consts, *names, *facts))
        self.add(getattr(code, "co_exceptiontable", b""))

    def add_globals(self, function: types.FunctionType) -> None:
        """Add the globals that a function names, and what it imports."""
        names = find_names(function.__code__)
        known = function.__globals__
        for name in sorted(names.loaded.intersection(UNSEEN).difference(known)):
            found = f"{function.__qualname__} calls {name}(), which may depend on anything"
            raise FingerprintError(found)
        self.add_named("global", {name: known[name] for name in names.loaded if name in known}, names.taken)
        for name in sorted(names.imported):
            try:
                module = importlib.import_module(name)
            except (ImportError, ValueError) as error:
                found = f"{function.__qualname__} imports {name!r}, which cannot be found from here"
                raise FingerprintError(found) from error
            self.add_module(module, names.taken)

    def add_named(self, kind: str, values: Mapping[str, Any], taken: set[str]) -> None:
        """Add what names stand for, in the names' order; of a module only the attributes that are taken."""
        for name in sorted(values):
            self.write(kind, name.encode())
            if isinstance(values[name], types.ModuleType):
                self.add_module(values[name], taken)
            else:
                self.add(values[name])

    def add_module(self, module: types.ModuleType, taken: set[str]) -> None:
        """Add a module: an installed one by its version, any other by the attributes that are taken of it."""
        name = module.__name__
        if is_installed(name):
            self.add_installed(name, "")
            return
        self.write("module", name.encode())
        wanted = {attribute for attribute in taken & set(vars(module)) if (name, attribute) not in self.taken}
        self.taken |= {(name, attribute) for attribute in wanted}
        self.add_named("attribute", {attribute: vars(module)[attribute] for attribute in wanted}, taken)

    def add_class(self, kind: type) -> None:
        """Add a class: an installed one by its version, any other by its bases and all that it defines."""
        # Of a few types written in C it is not a word.
        module = kind.__module__ if isinstance(kind.__module__, str) else "builtins"
        if is_installed(module) and (is_static(kind) or find_named(module, kind.__qualname__) is kind):
            self.add_installed(module, kind.__qualname__)
            return
        self.add_values("class", (kind.__qualname__, type(kind), kind.__bases__))
        for name, value in vars(kind).items():
            is_code = callable(value) or isinstance(value, classmethod | property)
            # Data of Python's own, such as the documentation; and a cache of abstract classes.
            if (is_code or not name.startswith("__")) and name not in ("_abc_impl", *ANNOTATIONS):
                self.write("attribute", name.encode())
                self.add(value)

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


class Names(NamedTuple):
    """What code names: globals that it loads, modules that it imports, and all that it may take of them."""

    loaded: set[str]
    imported: set[str]
    taken: set[str]


def find_names(code: types.CodeType) -> Names:
    """Return what code names, functions and classes inside it included."""
    # Words count too: `getattr(module, "name")` takes an attribute as well.
    words = {constant for constant in code.co_consts if isinstance(constant, str)}
    names = Names(set(), set(), words.union(code.co_names))
    for instruction in dis.get_instructions(code):
        if instruction.opname in LOADS:
            names.loaded.add(instruction.argval)
        elif instruction.opname == "IMPORT_NAME":
            names.imported.add(instruction.argval)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            for known, more in zip(names, find_names(constant), strict=True):
                known |= more
    return names


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
    if root in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(root), "__file__", None)
    return file is not None and bool({"site-packages", "dist-packages"} & set(Path(file).parts))


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
