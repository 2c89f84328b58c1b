"""Numba where it is installed: without it the same loops are interpreted, about 100 times slower.

Nothing else in this room knows which of the two runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])

try:
    import numba
except ImportError:
    COMPILED = False
else:
    COMPILED = not numba.config.DISABLE_JIT  # type: ignore[attr-defined,unused-ignore]
"""Whether the inner loops are machine code."""

NOTE = (
    "numba is not installed (or switched off): the search is interpreted, about 100 times slower; "
    "pip install numba"
)


def compiled(function: F) -> F:
    """The function as machine code, kept in numba's cache; the function itself without numba."""
    if not COMPILED:
        return function
    return cast(F, numba.njit(cache=True)(function))
