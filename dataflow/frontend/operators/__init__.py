"""Lowerings of the operators in general form: any element type and number of dimensions.

Each module lowers one family and lists its operators in ``LOWERINGS``. For the operators that the
integer forms of ``dataflow.frontend`` know too, these are tried second.
"""

from __future__ import annotations

from collections.abc import Callable

from dataflow.frontend.context import Context
from dataflow.frontend.graph import Node
from dataflow.frontend.operators import shape

Lower = Callable[[Context, Node], None]

GENERAL: dict[tuple[str, str], Lower] = {
    **shape.LOWERINGS,
}
"""By (domain, operator); the default domain is empty."""
