"""The output points of a layer as axes b, p, q and a channel axis, and operands over them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import numpy as np

from dataflow.ir.affine import Affine
from dataflow.ir.expr import Access
from dataflow.layers.layer import View
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.strides import Axis, Strided

Array = np.ndarray
NO_AXIS = Axis((), 1)


@dataclass(frozen=True)
class Points:
    """Axes of a layer's output.

    Attributes:
        b, p, q: point axes, outermost first.
        chan: channel axis (all groups).
        fixed: values of variables that this layer holds constant (peeled loops).
        sizes: of all variables.
    """

    b: Axis
    p: Axis
    q: Axis
    chan: Axis
    fixed: Mapping[str, int]
    sizes: Mapping[str, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return self.b.size, self.p.size, self.q.size, self.chan.size

    def offset(self, access: Strided) -> int:
        """Byte offset of point 0, fixed variables included."""
        return access.offset + sum(access.of(v) * n for v, n in self.fixed.items())

    def channel_step(self, access: Strided) -> int:
        """Bytes from channel to channel, 0 for one byte for all; CannotFuse when neither fits."""
        if self.chan.size == 1:
            return 1
        step = self.chan.stride(access)
        if step not in (0, 1) or any(
            access.of(v) != step * prod(self.sizes[w] for w in self.chan.variables[i + 1 :])
            for i, v in enumerate(self.chan.variables)
        ):
            raise CannotFuse(
                f"channels of {access.tensor} do not lie side by side",
                f"transpose {access.tensor} behind a quantiser of its own",
            )
        return step

    def view(self, access: Strided, *, broadcast: bool) -> View:
        """The access as a View over the points.

        ``broadcast``: strides of axes of one point are 0 (second sources); otherwise they are
        what a dense tensor has, so that coordinates can be told apart.
        """
        step = self.channel_step(access)
        c = self.chan.size if step else 1
        strides = [self._uniform(axis, access) for axis in (self.b, self.p, self.q)]
        sizes = [self.b.size, self.p.size, self.q.size]
        if not broadcast:
            dense = c
            for at in (2, 1, 0):
                if sizes[at] == 1:
                    strides[at] = dense
                dense = max(dense, strides[at] * sizes[at])
        else:
            strides = [s if n > 1 else 0 for s, n in zip(strides, sizes, strict=True)]
        return View(
            access.tensor,
            (*sizes, c),  # type: ignore[arg-type]
            strides[0],
            strides[1],
            strides[2],
            self.offset(access),
            splat=step == 0,
        )

    def _uniform(self, axis: Axis, access: Strided) -> int:
        step = axis.stride(access)
        inner = step
        for v in reversed(axis.variables):
            if access.of(v) != inner:
                raise CannotFuse(
                    f"{access.tensor} is not walked evenly",
                    f"copy {access.tensor} behind a quantiser of its own",
                )
            inner *= self.sizes[v]
        return step

    def per_channel(self, access: Access, data: Array) -> Array | None:
        """A constant over the channel axis, or None when it varies over points."""
        return self._grid(access, data, (self.chan,))

    def per_point(self, access: Access, data: Array) -> Array | None:
        """A constant over (b, p, q), or None when it varies over channels."""
        grid = self._grid(access, data, (self.b, self.p, self.q))
        return None if grid is None else grid.reshape(self.shape[:3])

    def _grid(self, access: Access, data: Array, axes: tuple[Axis, ...]) -> Array | None:
        names = [v for axis in axes for v in axis.variables]
        free = [v for v in access.variables if self.sizes[v] > 1 and v not in self.fixed]
        if set(free) - set(names):
            return None
        return grid(access, data, names, self.sizes, self.fixed).reshape(-1)


def grid(
    access: Access,
    data: Array,
    names: list[str],
    sizes: Mapping[str, int],
    fixed: Mapping[str, int],
) -> Array:
    """``data`` read through ``access`` over the variables ``names``, one array axis each."""
    indices = []
    for index in access.indices:
        indices.append(_values(index, names, sizes, fixed))
    shape = tuple(sizes[v] for v in names)
    if not indices:
        return np.broadcast_to(data.reshape(()), shape).copy()
    return np.ascontiguousarray(np.broadcast_to(data[tuple(indices)], shape))


def _values(
    index: Affine, names: list[str], sizes: Mapping[str, int], fixed: Mapping[str, int]
) -> Array:
    total = np.full((1,) * len(names), index.offset, dtype=np.int64)
    for variable, coefficient in index.terms:
        if variable in fixed:
            total = total + coefficient * fixed[variable]
        elif variable in names:
            shape = [1] * len(names)
            shape[names.index(variable)] = sizes[variable]
            total = total + coefficient * np.arange(sizes[variable]).reshape(shape)
        else:
            assert sizes[variable] == 1, f"{variable} is not an axis of the grid"
    return total
