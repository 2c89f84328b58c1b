"""Element types: a kind, a signedness and a width in bits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import ml_dtypes
import numpy as np

from dataflow.errors import DataflowError

Kind = Literal["int", "float", "bool"]


@dataclass(frozen=True, order=True)
class DType:
    """An element type.

    Attributes:
        kind: ``int``, ``float`` or ``bool``.
        signed: true for floats and two's complement integers.
        bits: width of one element.
    """

    kind: Kind
    signed: bool
    bits: int

    def __str__(self) -> str:
        if self.kind == "bool":
            return "bool"
        if self.kind == "float":
            return f"float{self.bits}"
        return f"{'' if self.signed else 'u'}int{self.bits}"

    @staticmethod
    def parse(text: str) -> DType:
        """The type called ``text`` (``int8``, ``uint8``, ``float32``, ``bool``, ...)."""
        if text not in _BY_NAME:
            raise DataflowError(
                f"type {text!r}", "is not a known type", f"use one of {', '.join(_BY_NAME)}"
            )
        return _BY_NAME[text]

    @staticmethod
    def of(array: np.ndarray) -> DType:
        """The type of a NumPy array; DataflowError when it has no counterpart here."""
        return DType.of_numpy(array.dtype)

    @staticmethod
    def of_numpy(dtype: np.dtype) -> DType:
        """The counterpart of a NumPy type; DataflowError when there is none."""
        return DType.parse(dtype.name)

    @property
    def numpy(self) -> np.dtype:
        """The NumPy type that holds the elements; 4-bit integers are held in 8 bits."""
        return _HELD.get(self) or np.dtype(str(self))

    @property
    def interface(self) -> np.dtype:
        """The NumPy type of a network's inputs and outputs: 4-bit integers are ml_dtypes'."""
        return _NARROW.get(self) or self.numpy

    @property
    def bytes(self) -> int:
        """Bytes of one element in memory (a bool takes one)."""
        return max(1, self.bits // 8)

    @property
    def is_int(self) -> bool:
        return self.kind == "int"

    @property
    def is_float(self) -> bool:
        return self.kind == "float"

    @property
    def lowest(self) -> int:
        """Smallest integer value; only for integers."""
        assert self.is_int
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def highest(self) -> int:
        """Largest integer value; only for integers."""
        assert self.is_int
        return (1 << (self.bits - (1 if self.signed else 0))) - 1


S4 = DType("int", True, 4)
U4 = DType("int", False, 4)
S8 = DType("int", True, 8)
U8 = DType("int", False, 8)
S16 = DType("int", True, 16)
U16 = DType("int", False, 16)
S32 = DType("int", True, 32)
U32 = DType("int", False, 32)
S64 = DType("int", True, 64)
U64 = DType("int", False, 64)
F16 = DType("float", True, 16)
F32 = DType("float", True, 32)
F64 = DType("float", True, 64)
BOOL = DType("bool", False, 1)

_HELD = {S4: np.dtype(np.int8), U4: np.dtype(np.uint8)}
_NARROW = {S4: np.dtype(ml_dtypes.int4), U4: np.dtype(ml_dtypes.uint4)}
_BY_NAME = {str(d): d for d in (S4, U4, S8, U8, S16, U16, S32, U32, S64, U64, F16, F32, F64, BOOL)}
