"""How the model's functions are compiled, and the words they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

from numba import njit

Function = TypeVar("Function", bound=Callable[..., Any])

Record = Any
"""A record of `layout.WORLD` or a part of it, passed by reference; changes stay in it."""

Table = Any
"""An array of records or integers."""

if TYPE_CHECKING:

    def compiled(function: Function) -> Function:
        """Compiles a function to machine code at its first call."""
        ...

else:
    # Called by compiled functions only; every array is kept alive outside, so that views of it need
    # no reference counts, which would take most of the time.
    compiled = njit(error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True, _nrt=False)

NEVER = 1 << 60
"""A time that does not come."""
