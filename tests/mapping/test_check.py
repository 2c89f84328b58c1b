"""Legality: golden mappings pass, each kind of fault gets its message."""

from __future__ import annotations

import pytest

from dataflow.arch import Architecture, builtin_names, load_architecture
from dataflow.cost import cost
from dataflow.errors import DataflowError
from dataflow.ir.text import loads
from dataflow.mapping import (
    Workload,
    faults,
    occupied_bits,
    parse_mapping,
    print_mapping,
    tiles,
    verify,
    workload_of,
)
from dataflow.mapping.occupancy import variable_sizes
from tests.mapping import golden

CHAIN = """\
einsum:
  name: chain
  shapes: {M: 64, N0: 64, N1: 64, N2: 64}
  declaration: {T0: [M, N0], W0: [N0, N1], W1: [N1, N2]}
  expressions: |
    T1[m, n1] = T0[m, n0] * W0[n0, n1]
    T2[m, n2] = T1[m, n1] * W1[n1, n2]
format:
  T0: {bits: 8}
  W0: {bits: 8}
  W1: {bits: 8}
  T1: {bits: 8}
  T2: {bits: 8}
"""

GOOD = """\
group g0
  hold MainMemory: T0, W0, W1, T2
  for m tile 8
    hold GlobalBuffer: T1
    branch
      hold GlobalBuffer: T0, W0
      for m tile 1
        for n1 tile 1
          for n0 tile 1
            compute T1 on MAC
    branch
      hold GlobalBuffer: W1, T2
      for m tile 1
        for n2 tile 1
          for n1 tile 1
            compute T2 on MAC
"""


def chain() -> Workload:
    return workload_of(loads(CHAIN))


def message(text: str, arch: Architecture | None = None, workload: Workload | None = None) -> str:
    found = faults(
        parse_mapping(text), workload or chain(), arch or load_architecture("simple"), "m.yaml"
    )
    assert found, "no fault"
    with pytest.raises(DataflowError) as error:
        verify(
            parse_mapping(text), workload or chain(), arch or load_architecture("simple"), "m.yaml"
        )
    assert str(error.value) == str(found[0])
    return str(found[0])


@pytest.mark.parametrize("name", golden.CASES)
def test_golden_mappings_are_legal_and_fill_what_is_recorded(name: str) -> None:
    case = golden.case(name)
    workload = golden.workload(case["workload"])
    arch = golden.architecture(case["architecture"])
    mapping = golden.mapping(name)
    assert faults(mapping, workload, arch) == ()
    assert parse_mapping(print_mapping(mapping, variable_sizes(workload))) == mapping
    found = tiles(mapping, workload, arch)
    words: dict[str, dict[str, int]] = {}
    for tile in found:
        if tile.level != "DRAM":
            words.setdefault(tile.level, {})[tile.tensor] = tile.elements
    assert words == case["occupancy_words"]
    peak = {k: v // 8 for k, v in occupied_bits(mapping, found).items() if k != "DRAM"}
    assert peak == case["peak_occupancy_words"]


def test_the_chain_is_legal() -> None:
    assert faults(parse_mapping(GOOD), chain(), load_architecture("simple")) == ()


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("compute T2", "compute T3", "T3 is no Einsum of the workload; use one of T1, T2"),
        ("compute T2", "compute T1", "T1 is computed twice; it is at groups[0].nest[3].parts[0]"),
        ("on MAC", "on ALU", "simple has no unit ALU; use one of MAC, vector"),
        ("hold GlobalBuffer: T1", "hold Cache: T1", "simple has no memory Cache; use one of Main"),
        ("for n2", "for z", "z is no rank variable of the workload; use one of m, n0, n1, n2"),
        ("for m tile 8", "for m tile 65", "the tile 65 is above the 64 values of m; use a tile of"),
        ("for n0", "par n0", "simple has no fan-out rows; there is none"),
        (": T1", ": T1, T9", "T9 is no tensor of the workload; use one of T0, T1"),
        (": T1", ": T1, T1", "T1 is there twice; remove one"),
        ("        for n0 tile 1\n", "", "64 values of n0 are left for one point; add: for n0 tile"),
        (": T0, W0, W1, T2", ": W0, W1, T2", "T0 enters or leaves the machine and is not held by"),
        ("    hold GlobalBuffer: T1\n", "", "T1 is held by no memory above; add: hold MainMemory"),
        (": W1, T2", ": W1, T2, T0", "no Einsum below it uses T0 there; remove T0"),
        ("for m tile 8", "for n1 tile 8", "T2 is summed over n1, and its outermost hold is below"),
    ],
)
def test_a_fault_gets_one_message(old: str, new: str, expected: str) -> None:
    text = GOOD.replace(old, new)
    if new == "par n0":
        text = GOOD.replace("for n0 tile 1", "par n0 tile 1 on rows")
    if new == "for n1 tile 8":
        text = GOOD.replace(
            "  hold MainMemory: T0, W0, W1, T2\n  for m tile 8\n",
            "  hold MainMemory: T0, W0, W1\n  for n1 tile 8\n    hold MainMemory: T2\n",
        )
    assert expected in message(text)


def test_a_fault_names_the_path_of_its_node() -> None:
    text = GOOD.replace("for m tile 8", "for m tile 65")
    assert message(text).startswith("m.yaml: groups[0].nest[1] (for m tile 65): ")


def test_capacity_says_memory_tensor_and_bytes() -> None:
    text = GOOD.replace(
        "  for m tile 8\n    hold GlobalBuffer: T1\n", "  hold GlobalBuffer: T1\n  for m tile 64\n"
    )
    workload = workload_of(loads(CHAIN.replace("64", "2048")))
    text = text.replace("64", "2048")
    found = message(text, workload=workload)
    assert "GlobalBuffer has 8388608 bit an instance and would hold" in found
    assert "bytes too many" in found
    assert "use a smaller tile of" in found


def test_a_reader_of_another_slice_is_refused() -> None:
    text = CHAIN.replace("T1[m, n1] * W1[n1, n2]", "T1[n1, m] * W1[n1, n2]").replace(
        "T2[m, n2]", "T2[m, n2]"
    )
    found = message(GOOD, workload=workload_of(loads(text)))
    assert "T2 reads more of T1 than the tile that this loop leaves" in found


def test_an_intermediate_is_not_read_from_where_nobody_writes_it() -> None:
    text = GOOD.replace("    hold GlobalBuffer: T1\n", "").replace(
        "hold GlobalBuffer: T0, W0", "hold MainMemory: T1\n      hold GlobalBuffer: T0, W0"
    )
    text = text.replace("hold GlobalBuffer: W1, T2", "hold GlobalBuffer: W1, T2, T1")
    assert "T1 is written to MainMemory and read from GlobalBuffer" in message(text)


def test_a_tile_that_is_dropped_between_groups_is_refused() -> None:
    first = GOOD.split("    branch\n")[1]
    second = GOOD.split("    branch\n")[2]
    text = (
        "group a\n  hold MainMemory: T0, W0\n  for m tile 8\n    hold MainMemory: T1\n"
        + first.replace("\n      ", "\n    ").replace("      hold", "    hold", 1)
        + "group b\n  hold MainMemory: T1, W1, T2\n"
        + second.replace("\n      ", "\n  ").replace("      hold", "  hold", 1)
    )
    assert "T1 goes from T1 to T2 and is dropped here" in message(text)
    swapped = text.replace("group a", "group z")
    assert "T1 goes from T1 to T2" in message(swapped)
    late = "group b" + text.split("group b")[1] + text.split("group b")[0]
    assert "T2 reads T1, which group 1 writes later; move that group before this one" in message(
        late
    )


MATMUL = """\
einsum:
  name: matmul
  shapes: {M: 64, K: 64, N: 64}
  declaration: {A: [M, K], B: [K, N], C: [M, N]}
  expressions: |
    C[m, n] = A[m, k] * B[k, n]
format: {A: {bits: 8}, B: {bits: 8}, C: {bits: 8}}
"""

ON_NVDLA = """\
group g0
  hold MainMemory: A, B, C
  hold GlobalBuffer: A, B, C
  par n tile 2 on rows
    for n tile 1
      par k tile 1 on cols
        hold Register: B
        for m tile 1
          compute C on MAC
"""


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("hold Register: B", "hold Register: B, A", "Register may not hold A, the input"),
        ("        hold Register: B\n", "", "Register has to hold B, the weight; add: hold"),
        ("tile 2 on rows", "tile 1 on rows", "uses 64 of the 32 instances of rows"),
        ("par n tile 2", "par m tile 2", "m indexes A, the input of C; rows takes only"),
        ("hold GlobalBuffer: A, B, C", "hold GlobalBuffer: A, C", "GlobalBuffer has to hold B"),
    ],
)
def test_what_an_architecture_asks_for_is_checked(old: str, new: str, expected: str) -> None:
    arch = load_architecture("nvdla")
    workload = workload_of(loads(MATMUL))
    assert faults(parse_mapping(ON_NVDLA), workload, arch) == ()
    assert any(
        expected in str(f)
        for f in faults(parse_mapping(ON_NVDLA.replace(old, new)), workload, arch)
    )


def test_a_hold_stands_on_its_side_of_a_fanout() -> None:
    arch = load_architecture("nvdla")
    workload = workload_of(loads(MATMUL))
    low = ON_NVDLA.replace("  hold GlobalBuffer: A, B, C\n", "").replace(
        "        hold Register: B\n",
        "        hold GlobalBuffer: A, B, C\n        hold Register: B\n",
    )
    assert "GlobalBuffer stands above" in message(low, arch, workload)
    high = ON_NVDLA.replace("        hold Register: B\n", "").replace(
        "  par n", "  hold Register: B\n  par n"
    )
    assert "Register stands below rows and is held above this loop" in message(high, arch, workload)


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_architectures_load(name: str) -> None:
    assert load_architecture(name).name == name


def test_built_in_names_are_those_of_the_contract() -> None:
    assert set(builtin_names()) == {
        *("edge8", "edge16", "edge32"),
        *("simple", "nvdla", "eyeriss", "tpu_like", "fusemax", "flat"),
    }


SOFTMAX = """\
einsum:
  name: softmax
  shapes: {M: 8, N: 4}
  declaration: {X: [M, N]}
  expressions: |
    S[m] = X[m, n] :: max(n)
    D[m, n] = sub_exp(X[m, n], S[m])
    Y[m, n] = D[m, n] * D[m, n]
"""
IN_PLACE = """\
group g
  hold MainMemory: X, Y
  hold GlobalBuffer: S
  hold GlobalBuffer: X = D
  branch
    for m tile 1
      for n tile 1
        compute S on vector
  branch
    for m tile 1
      for n tile 1
        compute D on vector
  branch
    for m tile 1
      for n tile 1
        compute Y on vector
"""


def test_tensors_in_place_share_their_space() -> None:
    workload, arch = workload_of(loads(SOFTMAX)), load_architecture("simple")
    mapping = parse_mapping(IN_PLACE)
    assert faults(mapping, workload, arch) == ()
    bits = occupied_bits(mapping, tiles(mapping, workload, arch))["GlobalBuffer"]
    assert bits == 32 * (8 + 8 * 4)
    wrong = message(IN_PLACE.replace("X = D", "D = X"), arch, workload)
    assert "X is not made point by point from D as its last reader" in wrong
    later = workload_of(loads(SOFTMAX.replace("D[m, n] * D[m, n]", "D[m, n] * X[m, n]")))
    assert "D is not made point by point from X" in message(IN_PLACE, arch, later)


CIRCLE = """\
einsum:
  name: circle
  shapes: {M: 4, N: 4}
  declaration: {A: [M, N]}
  expressions: |
    B[m, n] = exp(A[m, n])
    C[m, n] = exp(B[m, n])
    D[m, n] = exp(C[m, n])
    E[m, n] = D[m, n] + B[m, n]
"""


def test_branches_that_need_each_other_are_refused() -> None:
    """The first part makes B and needs C, the second makes C and needs B."""

    def path(name: str, depth: int) -> str:
        lines = ["for m tile 1", "  for n tile 1", f"    compute {name} on vector"]
        return "".join(f"{' ' * depth}{line}\n" for line in lines)

    def parts(depth: int, names: str) -> str:
        return "".join(" " * depth + "branch\n" + path(n, depth + 2) for n in names)

    text = "group g\n  hold MainMemory: A, B, C, D, E\n  branch\n    for m tile 2\n"
    text += parts(6, "BD") + "  branch\n" + parts(4, "CE")
    found = message(text, load_architecture("simple"), workload_of(loads(CIRCLE)))
    assert "need each other's results; split them at the same loops, or put them under" in found
    assert found.startswith("m.yaml: groups[0].nest: the branches of ")


TWICE = """\
einsum:
  name: twice
  shapes: {M: 4, N: 4, H: 7}
  declaration: {A: [H]}
  expressions: |
    C[m, n] = A[m] * A[n + 3]
format: {A: {bits: 8}, C: {bits: 8}}
"""
ONE_ACCESS = """\
group g0
  hold MainMemory: A, C
  hold GlobalBuffer: A.2
  for m tile 1
    for n tile 1
      compute C on vector
"""


def test_a_hold_of_one_access_leaves_the_other_alone() -> None:
    workload, arch = workload_of(loads(TWICE)), load_architecture("simple")
    first, second = workload.works[0].inputs
    assert (first.name, second.name) == ("A.1", "A.2")
    found = cost(parse_mapping(ONE_ACCESS), workload, arch).levels
    assert found["MainMemory"]["A"] == (16 + 4, 0)  # one by one, and four into the buffer
    assert found["GlobalBuffer"]["A"] == (16, 4)
    both = ONE_ACCESS.replace("A.2", "A")
    held = tiles(parse_mapping(both), workload, arch)
    assert {(t.level, t.tensor): t.elements for t in held}["GlobalBuffer", "A"] == 4 + 4


@pytest.mark.parametrize(
    ("hold", "expected"),
    [
        ("A, A.2", "hold GlobalBuffer: A, A.2): A.2 is there twice; remove one"),
        ("A.3", "A.3 is no tensor of the workload; did you mean A.2? use one of A, A.1, A.2, C"),
        ("A.2, A.2", "A.2 is there twice; remove one"),
    ],
)
def test_holds_of_accesses_have_their_messages(hold: str, expected: str) -> None:
    text = ONE_ACCESS.replace("GlobalBuffer: A.2", f"GlobalBuffer: {hold}")
    assert expected in message(text, workload=workload_of(loads(TWICE)))
    text = ONE_ACCESS.replace("MainMemory: A, C", "MainMemory: A.2, C")
    workload = workload_of(loads(TWICE))
    assert "A.1 is held by no memory above; add: hold MainMemory: A.1" in message(
        text, workload=workload
    )


def test_what_a_view_reads_by_data_is_indexed_by_its_readers_variables() -> None:
    text = """\
einsum:
  name: embed
  shapes: {N: 6, T: 9, K: 4, B: 6}
  declaration: {W: [T, K], I: [B]}
  types: {I: int64}
  expressions: |
    E[b, k] = W[{I[b]}, k]
    F[n, k] = E[n, k] + E[n, k]
"""
    (work,) = workload_of(loads(text)).works
    assert work.sizes == {"n": 6, "k": 4}  # not the variable of the view too
    weight, index = work.inputs
    assert weight.dims[0].indirect and weight.dims[0].terms == (("n", 1),)
    assert index.dims[0].terms == (("n", 1),)


def test_a_branch_that_reads_what_a_later_one_makes() -> None:
    head, first, second = GOOD.split("    branch\n")
    swapped = "    branch\n".join([head, second, first])
    assert message(swapped) == (
        "m.yaml: groups[0].nest[3].parts[0][4]: T2 reads T1, which a later branch makes; "
        "put the branch of T1 before it"
    )
