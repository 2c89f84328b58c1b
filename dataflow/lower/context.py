"""What the lowering of one network collects: storages, layers, constant data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from dataflow.ir.cascade import Cascade
from dataflow.ir.expr import Access
from dataflow.layers.layer import Layer, Storage, View
from dataflow.lower.epilogue import WORD, Epilogue, Operands
from dataflow.lower.points import NO_AXIS, Points, grid
from dataflow.lower.refusal import CannotFuse
from dataflow.lower.strides import Strided

Array = np.ndarray


@dataclass
class Context:
    """Growing parts of a LayerGraph.

    Attributes:
        cascade: with layout copies inserted.
        storage: of every tensor of the machine part.
        weights, params, constants: as in LayerGraph.
    """

    cascade: Cascade
    storage: dict[str, Storage]
    weights: dict[str, object] = field(default_factory=dict)
    params: dict[str, object] = field(default_factory=dict)
    constants: dict[str, bytes] = field(default_factory=dict)
    layers: list[Layer] = field(default_factory=list)

    def snapshot(self) -> Context:
        """A copy to try something on."""
        return replace(
            self,
            storage=dict(self.storage),
            weights=dict(self.weights),
            params=dict(self.params),
            constants=dict(self.constants),
            layers=list(self.layers),
        )

    def take(self, trial: Context) -> None:
        """Becomes what a trial has become."""
        self.cascade, self.storage, self.layers = trial.cascade, trial.storage, trial.layers
        self.weights, self.params, self.constants = trial.weights, trial.params, trial.constants

    def fresh(self, name: str) -> str:
        """A name that no storage has."""
        candidate, number = name, 1
        while candidate in self.storage or candidate in self.cascade.tensors:
            number += 1
            candidate = f"{name}{number}"
        return candidate

    def layer_name(self, name: str) -> str:
        """A name that no layer has: parts of one Einsum may be called as another Einsum is."""
        taken = {layer.name for layer in self.layers}
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}_n{number}"
        return candidate

    def add_constant(self, name: str, data: Array, signed: bool) -> str:
        """Constant bytes as a row-major tensor; equal ones are shared."""
        raw = np.ascontiguousarray(data)
        content = raw.tobytes()
        for known, held in self.constants.items():
            if held == content and self.storage[known].shape == raw.shape:
                return known
        name = self.fresh(name)
        layout = tuple(range(raw.ndim))
        self.storage[name] = Storage(name, raw.shape, layout, len(content), "constant", signed)
        self.constants[name] = content
        return name

    def byte_constant(
        self,
        access: Access,
        order: list[str],
        sizes: Mapping[str, int],
        fixed: Mapping[str, int],
        name: str,
    ) -> Strided:
        """A constant of codes laid out over the variables ``order``, outermost first."""
        used = [v for v in order if v in access.variables and sizes[v] > 1 and v not in fixed]
        data = grid(access, np.asarray(self.cascade.constants[access.tensor]), used, sizes, fixed)
        signed = self.cascade.tensors[access.tensor].dtype.signed
        tensor = self.add_constant(name, data.reshape(data.shape or (1,)), signed)
        strides, step = {}, 1
        for v in reversed(used):
            strides[v] = step
            step *= sizes[v]
        return Strided(tensor, strides, 0)

    def attach(self, layer: Layer, points: Points, epilogue: Epilogue, operands: Operands) -> Layer:
        """The layer with its vector part: program, parameters, second source."""
        names = tuple(f"{layer.name}:p{k}" for k in range(len(epilogue.params)))
        self.params.update(zip(names, epilogue.params, strict=True))
        layer = replace(layer, micro=epilogue.micro, params=names, bias=epilogue.bias)
        if epilogue.words:
            return replace(
                layer,
                second=self._words(layer.name, points, epilogue.words),
                second_words=True,
                second_use=4,
            )
        if epilogue.second is None:
            return layer
        access = epilogue.second
        if access in operands.rows:
            words = len(operands.rows)
            return replace(
                layer,
                second=_rows(points, operands.strided(access), words),
                second_words=True,
                second_use=WORD if words > 1 else 0,
            )
        if access.tensor in self.cascade.constants:
            order = [
                v for axis in (points.b, points.p, points.q, points.chan) for v in axis.variables
            ]
            where = self.byte_constant(
                access, order, points.sizes, points.fixed, f"{access.tensor}_operand"
            )
        else:
            where = operands.strided(access)
        return replace(
            layer,
            second=points.view(where, broadcast=True),
            second_zero=epilogue.second_zero,
            second_signed=self.cascade.tensors[access.tensor].dtype.signed,
        )

    def _words(self, name: str, points: Points, words: tuple[Array, ...]) -> View:
        """The numbers of each point in the order of use, as a constant tensor of words."""
        data = np.stack([np.ascontiguousarray(w).view(np.uint32) for w in words], axis=-1)
        raw = data.astype("<u4").view(np.uint8)
        if (raw == raw[:1]).all():
            raw = raw[:1]
        tensor = self.add_constant(f"{name}_numbers", raw, False)
        b, p, q, c = raw.shape
        return View(
            tensor,
            (points.b.size, points.p.size, points.q.size, c),
            p * q * c if b > 1 else 0,
            q * c if p > 1 else 0,
            c if q > 1 else 0,
        )


def _rows(points: Points, access: Strided, words: int) -> View:
    """The words that a layer reads for each of its points, side by side."""
    if points.chan.size > 1 and points.chan.stride(access):
        raise CannotFuse(
            "reads another word for each channel",
            "normalise over the ranks that lie last in memory",
        )
    plain = replace(points, chan=NO_AXIS).view(access, broadcast=True)
    b, p, q, _ = plain.shape
    return replace(plain, shape=(b, p, q, WORD * words))
