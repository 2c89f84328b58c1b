"""Random small quantised networks: branches, joins, several inputs and outputs."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from tests.frontend import models

Array = NDArray[Any]


@dataclass(frozen=True)
class Tensor:
    """A tensor of codes: name, shape, and the names of its scale and zero point."""

    name: str
    shape: tuple[int, ...]
    params: tuple[str, str]


class Net:
    """Grows a network of QLinear operators on 4-D tensors; ends of chains become outputs."""

    def __init__(self, rng: random.Random, side: int = 10, channels: int = 20) -> None:
        self.rng = rng
        self.bits = np.random.default_rng(rng.randrange(1 << 32))
        self.dtype: Any = rng.choice([np.int8, np.uint8])
        self.nodes: list[Any] = []
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, Array] = {}
        self.live: list[Tensor] = []
        self.used: set[str] = set()
        self.channels = channels
        batch = rng.choice([1, 1, 1, 2])
        shape = (batch, self.size(), rng.randint(1, side), rng.randint(1, side))
        for _ in range(rng.choice([1, 1, 2])):
            self.add_input(shape)

    def size(self) -> int:
        return self.rng.choice([1, 3, 4, self.rng.randint(1, self.channels)])

    def codes(self, shape: tuple[int, ...], dtype: Any) -> Array:
        info = np.iinfo(dtype)
        return self.bits.integers(info.min, info.max + 1, shape).astype(dtype)

    def zero(self, dtype: Any) -> Array:
        info = np.iinfo(dtype)
        value = self.rng.choice([info.min, info.max, 0, self.rng.randint(info.min, info.max)])
        return np.array(value, dtype)

    def middle(self, dtype: Any) -> Array:
        """A zero point that mostly leaves room on both sides, so that codes vary."""
        if self.rng.random() < 0.2:
            return self.zero(dtype)
        centre = 0 if dtype is np.int8 else 128
        return np.array(centre + self.rng.randint(-40, 40), dtype)

    def scale(self, x: Tensor) -> float:
        return float(self.constants[x.params[0]])

    def params(self, name: str, scale: float) -> tuple[str, str]:
        self.constants[f"{name}_s"] = np.array(scale, np.float32)
        self.constants[f"{name}_z"] = self.middle(self.dtype)
        return f"{name}_s", f"{name}_z"

    def add_input(self, shape: tuple[int, ...]) -> None:
        name = f"x{len(self.inputs)}"
        self.inputs[name] = self.codes(shape, self.dtype)
        self.live.append(Tensor(name, shape, self.params(name, self.rng.uniform(0.01, 0.05))))

    def emit(
        self,
        op: str,
        args: list[str],
        shape: tuple[int, ...],
        params: tuple[str, str],
        **attrs: Any,
    ) -> Tensor:
        name = f"t{len(self.nodes)}"
        self.nodes.append(models.node(op, args, [name], **attrs))
        self.used.update(args)
        made = Tensor(name, shape, params)
        self.live.append(made)
        return made

    def pick(self) -> Tensor:
        return self.rng.choice(self.live[-4:])

    def grow(self, steps: int) -> None:
        kinds = [
            "conv",
            "conv",
            "depthwise",
            "add",
            "mul",
            "concat",
            "max",
            "average",
            "constant",
            "sigmoid",
            "global",
        ]
        for _ in range(steps):
            getattr(self, self.rng.choice(kinds))(self.pick())

    def window(self, x: Tensor) -> tuple[list[int], list[int], list[int], list[int], list[int]]:
        """(kernel, strides, pads, dilations, output sides)."""
        rng = self.rng
        kernel, strides, dilations = [], [], []
        begin, end, out = [], [], []
        for side in x.shape[2:]:
            k, d = rng.randint(1, 4), rng.choice([1, 1, 2])
            low, high = rng.randint(0, k - 1), rng.randint(0, k - 1)
            if (k - 1) * d + 1 > side + low + high:
                k, d, low, high = 1, 1, 0, 0
            s = rng.choice([1, 1, 2, 3])
            kernel.append(k)
            strides.append(s)
            dilations.append(d)
            begin.append(low)
            end.append(high)
            out.append((side + low + high - (k - 1) * d - 1) // s + 1)
        return kernel, strides, begin + end, dilations, out

    def conv(self, x: Tensor, groups: int = 1, n_group: int = 0) -> None:
        kernel, strides, pads, dilations, out = self.window(x)
        c = x.shape[1] // groups
        n = (n_group or self.size()) * groups
        weights = self.codes((n, c, *kernel), np.int8)
        name = f"w{len(self.nodes)}"
        per_channel = self.rng.random() < 0.5
        count = n if per_channel else 1
        scale = self.bits.uniform(0.002, 0.01, count).astype(np.float32)
        zero: NDArray[np.int8] = np.zeros(count, np.int8)
        if not per_channel:
            zero[0] = self.middle(np.int8)
            scale, zero = scale.reshape(()), zero.reshape(())
        self.constants |= {name: weights, f"{name}_s": scale, f"{name}_z": zero}
        # Codes spread over some hundred units each way: products of codes add up at random.
        spread = self.scale(x) * float(scale.max()) * 73 * 73 * np.sqrt(c * np.prod(kernel))
        params = self.params(f"y{len(self.nodes)}", spread / 60)
        args = [x.name, *x.params, name, f"{name}_s", f"{name}_z", *params]
        if self.rng.random() < 0.6:
            self.constants[f"{name}_b"] = self.bits.integers(-4000, 4000, n).astype(np.int32)
            args.append(f"{name}_b")
        self.emit(
            "QLinearConv",
            args,
            (x.shape[0], n, *out),
            params,
            strides=strides,
            pads=pads,
            dilations=dilations,
            group=groups,
        )

    def depthwise(self, x: Tensor) -> None:
        c = x.shape[1]
        groups = self.rng.choice([g for g in range(1, c + 1) if c % g == 0])
        if self.rng.random() < 0.6:
            groups = c
        self.conv(x, groups, self.rng.choice([1, 1, 2]))

    def binary(self, op: str, x: Tensor) -> None:
        same = [t for t in self.live if t.shape == x.shape]
        y = self.rng.choice(same)
        a, b = self.scale(x), self.scale(y)
        params = self.params(f"y{len(self.nodes)}", a + b if op == "QLinearAdd" else 100 * a * b)
        self.emit(op, [x.name, *x.params, y.name, *y.params, *params], x.shape, params)

    def add(self, x: Tensor) -> None:
        self.binary("QLinearAdd", x)

    def mul(self, x: Tensor) -> None:
        self.binary("QLinearMul", x)

    def constant(self, x: Tensor) -> None:
        name = f"c{len(self.nodes)}"
        cut = self.rng.randint(0, 3)
        shape = tuple(s if self.rng.random() < 0.6 else 1 for s in x.shape[cut:])
        self.constants[name] = self.codes(shape, self.dtype)
        other = self.params(name, 0.03)
        op = self.rng.choice(["QLinearAdd", "QLinearMul"])
        a = self.scale(x)
        params = self.params(
            f"y{len(self.nodes)}", a + 0.03 if op == "QLinearAdd" else 100 * a * 0.03
        )
        self.emit(op, [x.name, *x.params, name, *other, *params], x.shape, params)

    def concat(self, x: Tensor) -> None:
        fits = [t for t in self.live if t.shape[:1] + t.shape[2:] == x.shape[:1] + x.shape[2:]]
        parts = [x, *self.rng.sample(fits, self.rng.randint(1, min(2, len(fits))))]
        params = self.params(f"y{len(self.nodes)}", max(self.scale(p) for p in parts))
        args = list(params)
        for part in parts:
            args += [part.name, *part.params]
        channels = sum(p.shape[1] for p in parts)
        self.emit("QLinearConcat", args, (x.shape[0], channels, *x.shape[2:]), params, axis=1)

    def max(self, x: Tensor) -> None:
        kernel, strides, pads, _, _ = self.window(x)  # dilated windows may miss the tensor
        out = self.pooled(x, kernel, strides, pads)
        self.emit(
            "MaxPool",
            [x.name],
            (*x.shape[:2], *out),
            x.params,
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
        )

    def pooled(
        self, x: Tensor, kernel: list[int], strides: list[int], pads: list[int]
    ) -> list[int]:
        return [
            (side + pads[i] + pads[i + 2] - kernel[i]) // strides[i] + 1
            for i, side in enumerate(x.shape[2:])
        ]

    def average(self, x: Tensor) -> None:
        kernel, strides, pads, _, _ = self.window(x)
        out = self.pooled(x, kernel, strides, pads)
        params = self.params(f"y{len(self.nodes)}", self.scale(x) / 2)
        self.emit(
            "QLinearAveragePool",
            [x.name, *x.params, *params],
            (*x.shape[:2], *out),
            params,
            kernel_shape=kernel,
            strides=strides,
            pads=pads,
            count_include_pad=self.rng.randint(0, 1),
        )

    def sigmoid(self, x: Tensor) -> None:
        params = self.params(f"y{len(self.nodes)}", 1 / 256)
        self.emit("QLinearSigmoid", [x.name, *x.params, *params], x.shape, params)

    def __getattr__(self, name: str) -> Any:
        if name == "global":  # a keyword, so not a method
            return self.global_average
        raise AttributeError(name)

    def global_average(self, x: Tensor) -> None:
        params = self.params(f"y{len(self.nodes)}", self.scale(x) / 4)
        self.emit(
            "QLinearGlobalAveragePool", [x.name, *x.params, *params], (*x.shape[:2], 1, 1), params
        )

    def classifier(self, x: Tensor) -> None:
        """A flattened matrix product."""
        features = int(np.prod(x.shape[1:]))
        flat = f"f{len(self.nodes)}"
        self.nodes.append(models.node("Flatten", [x.name], [flat]))
        self.used.add(x.name)
        n = self.size()
        name = f"w{len(self.nodes)}"
        self.constants |= {
            name: self.codes((features, n), np.int8),
            f"{name}_s": np.array(0.004, np.float32),
            f"{name}_z": np.array(0, np.int8),
        }
        params = self.params(
            f"y{len(self.nodes)}", self.scale(x) * 0.004 * 73 * 73 * np.sqrt(features) / 60
        )
        args = [flat, *x.params, name, f"{name}_s", f"{name}_z", *params]
        self.emit("QLinearMatMul", args, (x.shape[0], n), params)

    def model(self) -> onnx.ModelProto:
        ends = [t.name for t in self.live if t.name not in self.used and t.name not in self.inputs]
        middle = [t.name for t in self.live if t.name in self.used and t.name.startswith("t")]
        if middle and self.rng.random() < 0.3:
            ends.append(self.rng.choice(middle))  # an output that is also consumed
        return models.model(
            self.nodes,
            {n: (x.shape, x.dtype) for n, x in self.inputs.items() if n in self.used},
            dict.fromkeys(dict.fromkeys(ends), self.dtype),
            self.constants,
        )


def random_network(
    seed: int, steps: int = 5, side: int = 10, channels: int = 20
) -> tuple[onnx.ModelProto, dict[str, Array]]:
    """A network and inputs for it, by seed."""
    rng = random.Random(seed)
    net = Net(rng, side, channels)
    net.grow(rng.randint(1, steps))
    if rng.random() < 0.4:
        net.classifier(net.pick())
    return net.model(), {n: x for n, x in net.inputs.items() if n in net.used}
