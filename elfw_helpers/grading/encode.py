"""Values of a student's code as JSON text, by their exact types; runs inside the sandbox.

No method of the value and nothing that a student can replace is called: an object that claims to equal
everything has no type of its own here, and cannot claim anything.
"""

import builtins
import sys
from json.encoder import encode_basestring_ascii as quote

# Functions keep the builtins they were made with, so a student's `builtins.type = ...` reaches none of these.
__builtins__ = dict(vars(builtins))

LARGEST = 400_000  # numbers and characters of an answer
DEEPEST = 20


class TooLarge(Exception):
    """A value holds more than any right answer does."""


class Encoder:
    """Turns values into JSON text; made before any student's code, it keeps torch's and NumPy's functions."""

    def __init__(self):
        self.arrays = {}  # exact type -> function to (library, dtype, shape, flat list)
        self.scalars = {}  # exact type -> function to a value of Python
        if numpy := sys.modules.get("numpy"):
            array = numpy.ndarray
            ravel, tolist = array.ravel, array.tolist
            self.arrays[array] = lambda value: (value.size, str(value.dtype), value.shape, tolist, ravel)
            item = numpy.generic.item
            for kind in (numpy.bool_, *numpy.sctypeDict.values()):
                if issubclass(kind, (numpy.bool_, numpy.integer, numpy.floating)):
                    self.scalars[kind] = item
        if torch := sys.modules.get("torch"):
            tensor = torch.Tensor
            detach, flatten, tolist_of = tensor.detach, tensor.flatten, tensor.tolist
            numel = tensor.numel

            def describe(value):
                dtype = str(value.dtype).replace("torch.", "")
                return numel(value), dtype, tuple(value.shape), tolist_of, lambda v: flatten(detach(v))

            self.arrays[tensor] = self.arrays[torch.nn.Parameter] = describe

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

    def _write(self, value, depth):
        self._spend(1)
        if depth > DEEPEST:
            raise TooLarge
        kind = type(value)
        if kind in self.scalars:
            value = self.scalars[kind](value)
            kind = type(value)
        if value is None:
            return '["none"]'
        if kind is bool or kind is int or kind is float:
            return f'["{kind.__name__}",{self._number(value)}]'
        if kind is str:
            self._spend(len(value))
            return f'["str",{quote(value)}]'
        if kind is list or kind is tuple:
            self._spend(len(value))
            return f'["list",[{",".join([self._write(item, depth + 1) for item in value])}]]'
        if kind is dict:
            self._spend(len(value))
            pairs = [(self._write(k, depth + 1), self._write(v, depth + 1)) for k, v in value.items()]
            return f'["dict",[{",".join([f"[{k},{v}]" for k, v in pairs])}]]'
        if kind in self.arrays:
            return self._array(value, self.arrays[kind])
        return '["other"]'

    def _array(self, value, describe):
        size, dtype, shape, tolist, flatten = describe(value)
        self._spend(size)
        flat = tolist(flatten(value))
        numbers = ",".join([self._number(number) for number in flat])
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
