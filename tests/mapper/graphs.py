"""Hand-made layer graphs of known networks: geometry only, constants left out."""

from __future__ import annotations

from dataflow.layers.layer import (
    Layer,
    LayerGraph,
    MicroOp,
    MicroProgram,
    Stationary,
    Storage,
    View,
)
from dataflow.machine.isa import Op, Operand


def micro(ops: int) -> MicroProgram:
    """A program of `ops` chained operations; the last one writes the sink."""
    return MicroProgram(
        (),
        (),
        tuple(
            MicroOp(
                Op.FMA,
                Operand.S0 if i == 0 else Operand.R0,
                dst=0,
                sink=i == ops - 1,
                depends=i > 0,
                to_int=(0, -128, 127) if i == ops - 1 else None,
            )
            for i in range(ops)
        ),
    )


def dense(name: str, y: int, x: int, c: int, b: int = 1) -> View:
    """The view of a whole tensor in (b, y, x, c) order."""
    return View(name, (b, y, x, c), y * x * c, x * c, c)


class Builder:
    """Collects layers; every tensor is named after the layer that writes it."""

    def __init__(self, name: str, y: int, x: int, c: int) -> None:
        self.name = name
        self.layers: list[Layer] = []
        self.storage: dict[str, Storage] = {}
        self.shapes: dict[str, tuple[int, int, int]] = {}
        self._tensor("input", y, x, c, "input")

    def _tensor(self, name: str, y: int, x: int, c: int, role: str = "intermediate") -> None:
        self.shapes[name] = (y, x, c)
        self.storage[name] = Storage(
            name,
            (1, y, x, c),
            (0, 1, 2, 3),
            y * x * c,
            role,  # type: ignore[arg-type]
        )

    def conv(
        self,
        name: str,
        source: str,
        n: int,
        kernel: int | tuple[int, int],
        stride: int = 1,
        pad: int = 0,
        second: str | None = None,
        groups: int = 1,
    ) -> str:
        """A convolution with bias, scale and, given `second`, a residual addition."""
        y, x, c = self.shapes[source]
        kr, ks = (kernel, kernel) if isinstance(kernel, int) else kernel
        p, q = (y + 2 * pad - kr) // stride + 1, (x + 2 * pad - ks) // stride + 1
        self._tensor(name, p, q, n)
        self.layers.append(
            Layer(
                name,
                "array",
                (name,),
                1,
                groups,
                p,
                q,
                n // groups,
                dense(source, y, x, c),
                dense(name, p, q, n),
                micro(3 if second else 1),
                kr,
                ks,
                c // groups,
                stride,
                stride,
                1,
                1,
                pad,
                pad,
                stationary=Stationary(f"{name}.w", (0,), True),
                params=(f"{name}.b", f"{name}.s"),
                bias=True,
                second=dense(second, p, q, n) if second else None,
                macs=p * q * n * (c // groups) * kr * ks,
            )
        )
        return name

    def pool(self, name: str, source: str, kernel: tuple[int, int], stride: int, pad: int) -> str:
        """A maximum or average pool on the vector unit."""
        y, x, c = self.shapes[source]
        p = (y + 2 * pad - kernel[0]) // stride + 1
        q = (x + 2 * pad - kernel[1]) // stride + 1
        self._tensor(name, p, q, c)
        body = (MicroOp(Op.IMAX, Operand.S0, Operand.R0, dst=0, first_b=True, depends=True),)
        program = MicroProgram((), body, (MicroOp(Op.MOVE, Operand.R0, sink=True, depends=True),))
        self.layers.append(
            Layer(
                name,
                "vector",
                (name,),
                1,
                1,
                p,
                q,
                c,
                dense(source, y, x, c),
                dense(name, p, q, c),
                program,
                kernel[0],
                kernel[1],
                1,
                stride,
                stride,
                1,
                1,
                pad,
                pad,
            )
        )
        return name

    def graph(self) -> LayerGraph:
        """The graph; the last layer's tensor is the output."""
        last = self.layers[-1].output.tensor
        old = self.storage[last]
        self.storage[last] = Storage(last, old.shape, old.layout, old.bytes, "output")
        return LayerGraph(self.name, tuple(self.layers), self.storage)


def resnet8() -> LayerGraph:
    """The MLPerf Tiny network, 12.5 M MAC."""
    net = Builder("resnet8", 32, 32, 3)
    x = net.conv("c0", "input", 16, 3, 1, 1)
    for i, (n, stride) in enumerate(((16, 1), (32, 2), (64, 2))):
        skip = x if stride == 1 else net.conv(f"s{i}", x, n, 1, stride, 0)
        h = net.conv(f"a{i}", x, n, 3, stride, 1)
        x = net.conv(f"b{i}", h, n, 3, 1, 1, second=skip)
    x = net.pool("gap", x, (8, 8), 1, 0)
    net.conv("fc", x, 10, 1)
    return net.graph()


def resnet18(size: int = 224) -> LayerGraph:
    """ResNet-18 at `size` x `size`."""
    net = Builder("resnet18", size, size, 3)
    x = net.conv("c0", "input", 64, 7, 2, 3)
    x = net.pool("pool", x, (3, 3), 2, 1)
    for i, n in enumerate((64, 128, 256, 512)):
        for j in range(2):
            stride = 2 if i and not j else 1
            skip = x if stride == 1 else net.conv(f"s{i}", x, n, 1, stride, 0)
            h = net.conv(f"a{i}{j}", x, n, 3, stride, 1)
            x = net.conv(f"b{i}{j}", h, n, 3, 1, 1, second=skip)
    y, z, _ = net.shapes[x]
    x = net.pool("gap", x, (y, z), 1, 0)
    net.conv("fc", x, 1000, 1)
    return net.graph()


def dscnn() -> LayerGraph:
    """Keyword spotting: depthwise and pointwise convolutions on 25 x 5 x 64."""
    net = Builder("dscnn", 49, 10, 1)
    x = net.conv("c0", "input", 64, (10, 4), 2, 1)
    for i in range(4):
        x = net.conv(f"d{i}", x, 64, 3, 1, 1, groups=64)
        x = net.conv(f"p{i}", x, 64, 1)
    y, z, _ = net.shapes[x]
    x = net.pool("gap", x, (y, z), 1, 0)
    net.conv("fc", x, 12, 1)
    return net.graph()
