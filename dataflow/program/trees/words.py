"""The names of a layer's rank variables and the indices of its operands, in the text of a cascade.

Layer 3 has the rank variables ``b3 g3 p3 q3 n3`` of its output, and ``r3 s3 c3`` of its reduction.
Two more stand for several of these: ``j3`` for kernel columns and channels that are one run of
bytes in memory, ``u3`` for taps that fill the rows of the array one behind the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from dataflow.layers.layer import Layer, View
from dataflow.layers.tiled import TiledLayer

Index = str


@dataclass(frozen=True)
class Names:
    """Rank variables of a layer.

    Attributes:
        number: of the layer.
        tiled: the layer.
        merged: kernel columns and channels are one variable, ``j``.
        flat: variables that ``u`` walks as one, outermost first; empty: none.
        split: channels of a tile, where ``k`` counts the tiles and ``c`` what is in one; 0: ``c``
            is all channels.
    """

    number: int
    tiled: TiledLayer
    merged: bool
    flat: tuple[str, ...]
    split: int = 0

    @property
    def layer(self) -> Layer:
        return self.tiled.layer

    def of(self, letter: str) -> str:
        """The variable ``letter`` of this layer."""
        return f"{letter}{self.number}"

    @property
    def sizes(self) -> dict[str, int]:
        """Sizes by letter, of those that the layer has."""
        layer = self.layer
        sizes = {"b": layer.batch, "g": layer.groups, "p": layer.p, "q": layer.q, "n": layer.n}
        if layer.kind == "array":
            if self.merged:
                sizes |= {"r": layer.taps_r, "j": layer.taps_s * layer.c}
            else:
                channels = self.split or layer.c
                sizes |= {"r": layer.taps_r, "s": layer.taps_s, "k": layer.c // channels}
                sizes["c"] = channels
                if layer.reduction == 1:  # a sum over one product is a sum
                    return {k: v for k, v in sizes.items() if v > 1 or k == "c"}
        elif not layer.flat:
            sizes |= {"r": layer.taps_r, "s": layer.taps_s}
        return {k: v for k, v in sizes.items() if v > 1}

    def present(self, *letters: str) -> tuple[str, ...]:
        """Variables of these letters that the layer has."""
        return tuple(self.of(v) for v in letters if v in self.sizes)

    def walked(self, letter: str) -> str:
        """The letter that loops walk in place of ``letter``."""
        return "u" if letter in self.flat else letter

    @property
    def flat_size(self) -> int:
        return prod(self.sizes[v] for v in self.flat)

    def index(self, *terms: tuple[str, int], offset: int = 0) -> Index:
        """An affine index of variables that the layer has."""
        sizes = self.sizes
        parts = [
            self.of(v) if a == 1 else f"{self.of(v)}*{a}" for v, a in terms if v in sizes and a
        ]
        text = " + ".join(parts) if parts else "0"
        if offset and parts:
            text += f" - {-offset}" if offset < 0 else f" + {offset}"
        return text

    def source(self) -> tuple[Index, ...]:
        """Of the source: batch, row, column, channel; merged: batch, row, byte of the row."""
        layer, view = self.layer, self.layer.source
        batch = self.index(("b", 1)) if view.b_bytes else "0"
        if layer.flat:
            return (self.index(("q", 1)) if view.x_bytes else "0",)
        row = self.index(("p", layer.stride_p), ("r", layer.dilation_r), offset=-layer.pad_p)
        column = self.index(("q", layer.stride_q), ("s", layer.dilation_s), offset=-layer.pad_q)
        if self.merged:
            run = ("q", layer.stride_q * layer.c), ("j", 1)
            return batch, row, self.index(*run, offset=-layer.pad_q * layer.c)
        if layer.kind == "array":
            channel = self.index(("g", layer.c), ("k", self.split), ("c", 1))
        else:
            channel = "0" if view.splat else self.output_channel()
        return (
            batch,
            row if view.y_bytes or layer.kind == "array" else "0",
            column if view.x_bytes or layer.kind == "array" else "0",
            channel,
        )

    def shape(self, view: View) -> tuple[int, ...]:
        """The shape under which a view is declared."""
        strides = (view.b_bytes, view.y_bytes, view.x_bytes, 1)
        # What a stride of 0 repeats is there once.
        b, y, x, c = (n if step else 1 for n, step in zip(view.shape, strides, strict=True))
        if self.layer.flat:
            return (b * y * x * c,)
        return (b, y, x * c) if self.merged and view is self.layer.source else (b, y, x, c)

    def output_channel(self) -> Index:
        """A channel of the output: group and channel of the group."""
        return self.index(("g", self.layer.n), ("n", 1))

    def output(self) -> tuple[Index, ...]:
        """Of the output and of the accumulators: batch, row, column, channel."""
        if self.layer.flat:
            return (self.index(("q", 1)),)
        return (
            self.index(("b", 1)),
            self.index(("p", 1)),
            self.index(("q", 1)),
            self.output_channel(),
        )

    def second(self, view: View) -> tuple[Index, ...]:
        """Of an operand of the vector unit: as the output, less what the view broadcasts."""
        layer = self.layer
        if layer.flat:
            return (self.index(("q", 1)) if view.x_bytes else "0",)
        b, p, q, n = self.output()
        single = view.splat or layer.second_words
        return (
            b if view.b_bytes else "0",
            p if view.y_bytes else "0",
            q if view.x_bytes else "0",
            "0" if single else n,
        )

    def weights(self) -> tuple[tuple[Index, int], ...]:
        """Indices and sizes of constant weights, in the order of their lines."""
        layer, sizes = self.layer, self.sizes
        letters = ["r", "j"] if self.merged else ["r", "s", "k", "c"]
        if layer.groups > 1:
            letters = [*letters, "g"] if layer.n == 1 else ["g", *letters]
        if layer.n > 1 or layer.groups == 1:
            letters.append("n")
        return tuple(
            (self.index((v, 1)), sizes.get(v, 1)) for v in letters if v in sizes or v == "n"
        )

    def stationary(self, view: View) -> tuple[tuple[Index, int], ...]:
        """Indices and sizes of an activation that stays in the array."""
        transposed = self.layer.stationary is not None and self.layer.stationary.transposed
        rows, chan = ("n", "c") if transposed else ("c", "n")
        batch = (self.index(("b", 1)), self.layer.batch) if view.b_bytes else ("0", 1)
        axes = {"n": (("n", 1),), "c": (("k", self.split), ("c", 1))}
        size = {"n": self.layer.n, "c": self.layer.c}
        return (
            batch,
            (self.index(*axes[rows]), size[rows]),
            (self.index(*axes[chan]), size[chan]),
        )
