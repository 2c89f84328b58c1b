"""Each rule of a well-formed Cascade, broken once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dataflow.errors import DataflowError
from dataflow.ir import F32, S8, S32, Affine, Cascade, Einsum, Quant, Reduction, Tensor, verify
from dataflow.ir.expr import access, call, integer

X = Tensor("X", ("B", "C"), (2, 3), S8, "input")
W = Tensor("W", ("C", "N"), (3, 4), S8, "weight")
Y = Tensor("Y", ("B", "N"), (2, 4), S32, "output")
PRODUCT = Einsum(
    "Y",
    access("Y", "b", "n"),
    call("mul", access("X", "b", "c"), access("W", "c", "n")),
    Reduction("add", ("c",)),
)
GOOD = Cascade(
    "good",
    {"B": 2, "C": 3, "N": 4},
    {"X": X, "W": W, "Y": Y},
    (PRODUCT,),
    {"W": np.zeros((3, 4), np.int8)},
    ("X",),
    ("Y",),
)


def test_a_good_cascade_passes() -> None:
    verify(GOOD)


def product(**changes: Any) -> dict[str, Any]:
    """The good cascade's einsum, changed."""
    return {"einsums": (replace(PRODUCT, **changes),)}


def tensor(new: Tensor) -> dict[str, Any]:
    """The good cascade's tensors, one changed."""
    return {"tensors": {**GOOD.tensors, new.name: new}}


TABLE = call("lookup", access("X", "b", "c"), access("W"))
HALF = Einsum("Y", access("Y", "b", Affine.of(0)), integer(1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"rank_sizes": {"B": 2, "C": 3, "N": 4, "k": 1}}, "rank 'k': is not an upper-case name"),
        ({"rank_sizes": {"B": -1, "C": 3, "N": 4}}, "has size -1"),
        (tensor(replace(X, ranks=("B",))), "has 1 ranks but 2 dimensions"),
        (tensor(replace(W, shape=(4, 3))), "its data is int8 [3, 4]"),
        (tensor(replace(X, quant=Quant((0.1, 0.2), (0, 0)))), "has 2 scales"),
        ({"inputs": ("Z",)}, "is no tensor of the cascade"),
        ({"outputs": ("X",)}, "has the role input"),
        ({"einsums": (PRODUCT, PRODUCT)}, "is defined twice"),
        (product(expr=access("Q", "b", "c")), "uses unknown tensor 'Q'"),
        (product(expr=access("X", "z", "c")), "rank variable 'z' has no rank"),
        (product(expr=access("X", "b")), "has 2 ranks but 1 indices"),
        (product(reduction=None), "c is neither in the output nor reduced"),
        (product(reduction=Reduction("add", ("c", "n"))), "which is in the output"),
        (product(reduction=Reduction("pick", ("c",))), "unknown reduction 'pick'"),
        (product(reduction=Reduction("add", ("c",), "odd")), "unknown order 'odd'"),
        (product(output=access("X", "b", "c")), "writes input 'X'"),
        (product(output=access("Y", "b", Affine.of("n", 1))), "writes coordinates 1..4"),
        (product(output=access("Y", "b", Affine.of(("n", 0)))), "is neither"),
        (tensor(replace(Y, dtype=S8)), "computes int32 but writes int8"),
        (tensor(replace(Y, dtype=F32)), "computes int32 but writes float32"),
        (product(expr=TABLE), "is not a whole tensor of 256 entries"),
        ({"einsums": (HALF,)}, "has 8 elements but 2 are written"),
        ({"constants": {"X": np.zeros(2)}}, "is no tensor of role weight"),
    ],
)
def test_each_rule_is_enforced(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        verify(replace(GOOD, **changes))
    assert message in str(caught.value)


def test_an_access_leaves_its_tensor_only_under_a_reduction() -> None:
    tensors = {"X": X, "Y": replace(Y, shape=(2, 3), ranks=("B", "C"))}
    shifted = access("X", "b", Affine.of("c", "r", -1))
    einsum = Einsum("Y", access("Y", "b", "c"), shifted, Reduction("max", ("r",)))
    tensors["Y"] = replace(tensors["Y"], dtype=S8)
    padded = Cascade("", {"B": 2, "C": 3, "R": 3}, tensors, (einsum,), {}, ("X",), ("Y",))
    verify(padded)
    bare = replace(einsum, expr=access("X", "b", Affine.of("c", -1)), reduction=None)
    with pytest.raises(DataflowError, match=r"reads coordinates -1\.\.1"):
        verify(replace(padded, einsums=(bare,)))


def test_order_and_overlap_are_checked() -> None:
    copy = Einsum("Z", access("Z", "b", "n"), access("Y", "b", "n"))
    tensors = {**GOOD.tensors, "Z": replace(Y, name="Z")}
    both = replace(GOOD, tensors=tensors, einsums=(PRODUCT, copy), outputs=("Y", "Z"))
    verify(both)
    with pytest.raises(DataflowError, match="reads 'Y' before it is complete"):
        verify(replace(both, einsums=(copy, PRODUCT)))
    halves = (
        Einsum("Y", access("Y", "b", "n2"), integer(0)),
        Einsum("Y_2", access("Y", "b", Affine.of("n2", 1)), integer(0)),
    )
    sizes = {**GOOD.rank_sizes, "N2": 2}
    with pytest.raises(DataflowError, match="two Einsums write the same region"):
        verify(
            replace(
                GOOD, einsums=halves, rank_sizes=sizes, tensors={"Y": Y}, inputs=(), constants={}
            )
        )


def test_mixed_radix_output_is_injective_and_others_are_not() -> None:
    flat = Tensor("F", ("K",), (6,), S8, "output")
    sizes = {"B": 2, "C": 3, "K": 6}
    good = Einsum("F", access("F", Affine.of(("b", 3), "c")), access("X", "b", "c"))
    cascade = Cascade("", sizes, {"X": X, "F": flat}, (good,), {}, ("X",), ("F",))
    verify(cascade)
    bad = replace(good, output=access("F", Affine.of(("b", 2), "c")))
    with pytest.raises(DataflowError, match="writes some element of 'F' twice"):
        verify(replace(cascade, einsums=(bad,)))
