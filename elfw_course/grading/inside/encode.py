"""Writes values of a student's code as JSON text, by the types they are built on; runs inside the sandbox.

What a value holds is read by C functions that were saved before any student's code ran: no method of it is
called. So an object that claims to equal everything gains nothing by it.
"""

import builtins
import collections
import sys
import types
from json.encoder import encode_basestring_ascii as quote

# Functions keep the builtins they were made with, so a student's `builtins.type = ...` does not reach them.
__builtins__ = dict(vars(builtins))

LARGEST = 400_000  # numbers and characters of an answer
DEEPEST = 20
# Read by the descriptors of `type`, which no metaclass can stand in for.
read_parents = type.__dict__["__mro__"].__get__
read_members = type.__dict__["__dict__"].__get__
LIBRARIES = {"collections", "numpy", "pandas", "torch", "torchvision"}  # where an `__eq__` tells no lies
VIEWS = (type({}.keys()), type({}.values()), type({}.items()))


class TooLarge(Exception):
    """A value holds more than any right answer does."""


class Encoder:
    """Turns values into JSON text; made before any student's code, it keeps the libraries' functions."""

    def __init__(self):
        # From a type to how a value built on it is read: `lists` by a function to (its length, its items).
        self.arrays = {}
        self.scalars = {int: int.__index__, float: float.__float__, str: str.__str__}
        deque = collections.deque
        self.lists = {
            list: (list.__len__, list.copy),
            tuple: (tuple.__len__, lambda value: tuple.__getitem__(value, slice(None))),
            range: (lambda value: range.__len__(value[: LARGEST + 1]), list),
            deque: (deque.__len__, lambda value: list(deque.__iter__(value))),
            **dict.fromkeys(VIEWS, (len, list)),
        }
        self.learnt = set()
        self._learn_libraries()

    def _learn_libraries(self):
        """Keep the functions of libraries that have been loaded; say whether one is new."""
        new = {"numpy", "torch", "pandas"}.intersection(sys.modules) - self.learnt
        for name in new:
            getattr(self, f"_learn_{name}")(sys.modules[name])
        self.learnt |= new
        return bool(new)

    def _learn_numpy(self, numpy):
        array, item = numpy.ndarray, numpy.generic.item
        view, ravel, tolist = array.view, array.ravel, array.tolist

        def describe(value):
            value = view(value, array)
            if value.dtype.kind in "OU":  # strings and objects
                return value.size, None, value.shape, lambda: tolist(value)
            return value.size, str(value.dtype), value.shape, lambda: tolist(ravel(value))

        self.arrays[array] = describe
        for kind in (numpy.bool_, numpy.integer, numpy.floating):
            self.scalars[kind] = item
        self.scalars[numpy.longdouble] = numpy.longdouble.__float__

    def _learn_torch(self, torch):
        tensor, strided = torch.Tensor, torch.strided
        as_subclass, detach, flatten = tensor.as_subclass, tensor.detach, tensor.flatten
        numel, to_dense, tolist = tensor.numel, tensor.to_dense, tensor.tolist
        plainly = torch._C.DisableTorchFunctionSubclass  # no `__torch_function__` of the value's own

        def describe(value):
            with plainly():
                value = detach(value)
                value = value if type(value) is tensor else as_subclass(value, tensor)
            dtype, is_dense = str(value.dtype).replace("torch.", ""), value.layout is strided
            size, shape = numel(value), value.shape
            return size, dtype, shape, lambda: tolist(flatten(value if is_dense else to_dense(value)))

        self.arrays[tensor] = describe

    def _learn_pandas(self, pandas):
        for kind in (pandas.Index, pandas.Series):
            self.lists[kind] = (kind.__len__, kind.tolist)
        self.lists[pandas.api.extensions.ExtensionArray] = (len, list)

    def encode(self, value):
        """Return the JSON text of a value: a list of its kind and its content."""
        self.left = LARGEST
        try:
            return self._write(value, 0)
        except TooLarge:
            return '["too large"]'

    def _spend(self, count):
        """Count what an answer holds."""
        self.left -= count
        if self.left < 0:
            raise TooLarge

    def _find_base(self, kind):
        """Return the type that is known here and that a value's type is built on, or None.

        A type that says by itself, in Python, what it equals has none.
        """
        for base in read_parents(kind):
            if base is dict or base in self.scalars or base in self.lists or base in self.arrays:
                return base
            own = read_members(base).get("__eq__")
            if type(own) is types.FunctionType and str(own.__module__).partition(".")[0] not in LIBRARIES:
                return None
        return self._find_base(kind) if self._learn_libraries() else None

    def _write(self, value, depth):
        self._spend(1)
        if depth > DEEPEST:
            raise TooLarge
        if value is None:
            return '["none"]'
        base = type(value) if type(value) is bool else self._find_base(type(value))
        if base in self.scalars:
            value = self.scalars[base](value)
            base = type(value)
        if base is bool or base is int or base is float:
            return f'["{base.__name__}",{self._number(value)}]'
        if base is str:
            self._spend(len(value))
            return f'["str",{quote(value)}]'
        if base is dict:
            self._spend(dict.__len__(value))
            pairs = [(self._write(k, depth + 1), self._write(v, depth + 1)) for k, v in dict.items(value)]
            return f'["dict",[{",".join([f"[{k},{v}]" for k, v in pairs])}]]'
        if base in self.lists:
            count, copy = self.lists[base]
            self._spend(count(value))
            return f'["list",[{",".join([self._write(item, depth + 1) for item in copy(value)])}]]'
        return self._array(value, self.arrays[base], depth) if base in self.arrays else '["other"]'

    def _array(self, value, describe, depth):
        try:
            size, dtype, shape, tolist = describe(value)
            self._spend(size)
            items = tolist()
        except (RuntimeError, TypeError):  # it holds no content, such as a tensor on "meta"
            return '["other"]'
        if dtype is None:
            return self._write(items, depth)
        numbers = ",".join([self._number(number) for number in items])
        return f'["array",{quote(dtype)},[{",".join([str(side) for side in shape])}],[{numbers}]]'

    def _number(self, value):
        """Return a number as JSON; floats in hexadecimal text, which loses nothing and knows NaN."""
        kind = type(value)
        if kind is bool:
            return "true" if value else "false"
        if kind is int:
            if value.bit_length() > 4096:
                raise TooLarge
            return str(value)
        if kind is float:
            return f'"{value.hex()}"'
        raise TooLarge  # complex numbers and objects: no right answer holds them
