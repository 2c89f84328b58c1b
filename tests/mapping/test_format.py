"""How tensors are stored, variables walked as one, loops that name their tiles; the messages."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow import api
from dataflow.arch import Architecture, resolve
from dataflow.cost import cost
from dataflow.errors import DataflowError
from dataflow.ir.text import loads
from dataflow.mapping import Workload, faults, parse_mapping, workload_of
from dataflow.mapping.workload import Digit

CONV = """\
einsum:
  name: conv
  shapes: {P: 4, R: 2, C: 3, M: 2, H: 5}
  declaration: {I: [H, C], F: [R, C, M]}
  expressions: |
    O[p, m] = I[p + r, c] * F[r, c, m] :: add(r, c)
"""


def machine(**unit: object) -> Architecture:
    """DRAM behind a bus with lines of 64 bit, a buffer with lines of 32 bit, one lane, a unit."""
    memory = {
        "kind": "memory",
        "size_bytes": "unbounded",
        "may_hold": ["all", "partial"],
        "ports": {"any": {"does": ["read", "write"], "bits_per_cycle": 8}},
        "energy_pj": {"read": 1.0, "write": 1.0},
    }
    bus = {
        "max_burst_beats": 4,
        "outstanding_reads": 4,
        "read_latency_cycles": 1,
        "write_latency_cycles": 1,
    }
    operation = {"operators": ["any"], "inputs": ["int8"], "output": "int8"}
    compute = {
        "kind": "compute",
        "executes": [operation],
        "energy_pj": 1.0,
        "under": "rows",
        **unit,
    }
    rows = {"kind": "fanout", "size": 8, "under": "buffer", "shifts": ["input"]}
    nodes = {
        "dram": {**memory, "line_bits": 64, "bus": bus},
        "buffer": {**memory, "line_bits": 32, "under": "dram", "reads_padding": True},
        "rows": rows,
        "u": {**compute, **unit},
    }
    return resolve({"version": 1, "name": "m", "clock_mhz": 100, "nodes": nodes}, "m.yaml")


def with_format(form: str, text: str = CONV) -> Workload:
    bits = "".join(f"  {t}: {{bits: 8{form if t == 'F' else ''}}}\n" for t in "IFO")
    return workload_of(loads(f"{text}format:\n{bits}"))


NEST = """\
group g
  hold dram: I, F, O
  hold buffer: F, I, O
  for p tile 1
    for r tile 1
      for c tile 1
        for m tile 1
          compute O on u
"""


def test_what_is_stored_in_lines_is_moved_in_lines() -> None:
    """2 x 3 rows of 2 elements in lines of 4: 24 elements, of which 12 are padding."""
    found = cost(parse_mapping(NEST), with_format(", line: 4"), machine())
    assert found.levels["dram"]["F"] == (24, 0)
    assert found.accesses["dram"]["F"] == (3, 0)
    assert found.levels["buffer"]["F"] == (48, 24)
    assert found.accesses["buffer"]["F"] == (48, 6)


def test_a_block_begins_a_new_line() -> None:
    """Rows of 2 elements, each in a line of its own."""
    found = cost(parse_mapping(NEST), with_format(", line: 4, block: 1"), machine())
    assert found.levels["dram"]["F"] == (48, 0)


def test_an_element_is_read_as_often_as_it_is_used() -> None:
    once = cost(parse_mapping(NEST), with_format(""), machine()).levels["buffer"]["F"]
    twice = cost(parse_mapping(NEST), with_format(", uses: 2"), machine()).levels["buffer"]["F"]
    assert twice == (2 * once[0], once[1])
    moved = cost(parse_mapping(NEST), with_format(", uses: 0"), machine()).levels["buffer"]["F"]
    assert moved == (0, once[1])


def test_lanes_that_ask_for_neighbours_get_them_in_one_line() -> None:
    nest = NEST.replace("for c tile 1", "par c tile 1 on rows")
    found = cost(parse_mapping(nest), with_format(""), machine())
    assert found.levels["buffer"]["I"][0] == 4 * 2 * 3 * 2
    assert found.accesses["buffer"]["I"][0] == 4 * 2 * 2


def test_lanes_that_shift_read_a_word_once_for_all() -> None:
    """With the taps on lanes, 5 rows are read rather than 4 x 2."""
    nest = """\
group g
  hold dram: I, F, O
  hold buffer: F, I, O
  hold rows: I
  par r tile 1 on rows
    for p tile 1
      for c tile 1
        for m tile 1
          compute O on u
"""
    found = cost(parse_mapping(nest), with_format(""), machine())
    assert found.levels["buffer"]["I"][0] == 5 * 3
    assert set(found.levels) == {"dram", "buffer"}


def test_a_flattened_variable_goes_on_from_one_rank_to_the_next() -> None:
    """Six taps in pieces of 4 and 2: four lines for each point, not one for each tap row."""
    nest = """\
group g
  hold dram: I, F, O
  hold buffer: F, I, O
  for u tile 4
    for p tile 1
      for m tile 1
        par u tile 1 on rows
          compute O on u
"""
    workload = with_format("", CONV + "flatten: {u: [r, c]}\n")
    (work,) = workload.works
    assert dict(work.sizes) == {"p": 4, "m": 2, "u": 6}
    assert work.inputs[0].dims[0].digits == (Digit("u", 3, 2, 1),)
    found = cost(parse_mapping(nest), workload, machine())
    assert found.macs == 48
    assert found.accesses["buffer"]["I"][0] == (2 + 1) * 4 * 2


def test_a_unit_keeps_sums_in_its_registers() -> None:
    nest = NEST.replace("    for r tile 1\n", "    hold u: O\n    for r tile 1\n")
    nest = nest.replace("        for m tile 1\n", "        for m tile 1\n")
    found = cost(parse_mapping(nest), with_format(""), machine(keeps=["output"]))
    assert found.levels["buffer"]["O"] == (8, 8)


def test_a_tensor_that_lies_there_need_not_pass_the_root() -> None:
    nest = NEST.replace("hold dram: I, F, O", "hold dram: I, O")
    assert faults(parse_mapping(nest), with_format(", resident: buffer"), machine()) == ()


def test_whole_takes_what_no_window_reads() -> None:
    """A window of 4 points and 2 taps ends one row before the tensor does."""
    text = CONV.replace("H: 5", "H: 7")
    part = cost(parse_mapping(NEST), with_format("", text), machine())
    nest = NEST.replace("hold buffer: F, I, O", "hold buffer: F, O\n  hold buffer: I whole")
    whole = cost(parse_mapping(nest), with_format("", text), machine())
    assert part.levels["dram"]["I"] == (15, 0)
    assert whole.levels["dram"]["I"] == (21, 0)
    assert whole.occupancy_bits["buffer"] - part.occupancy_bits["buffer"] == 6 * 8


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("format: 3", "conv: format: is not a mapping from tensors; write format:"),
        ("format: {X: {bits: 8}}", "conv: format.X: is not a tensor; tensors: I, F, O"),
        ("format: {I: 8}", "conv: format.I: is not a mapping; write format:"),
        ("format: {I: {bits: 0}}", "conv: format.I.bits: '0' is wrong; write format:"),
        (
            "format: {I: {bits: 99999999999999999999}}",
            "conv: format.I.bits: '99999999999999999999'",
        ),
        ("format: {I: {line: -1}}", "conv: format.I.line: '-1' is wrong"),
        ("format: {I: {line: [1]}}", "conv: format.I.line: ['1'] is wrong"),
        ("format: {I: {block: x}}", "conv: format.I.block: 'x' is wrong"),
        ("format: {I: {uses: -1}}", "conv: format.I.uses: '-1' is wrong"),
        ("format: {I: {role: output}}", "conv: format.I.role: 'output' is wrong"),
        ("format: {I: {resident: 4x}}", "conv: format.I.resident: '4x' is wrong"),
        ("format: {I: {width: 8}}", "conv: format.I.width: is not a known key"),
        ("flatten: 3", "conv: flatten: is not a mapping from new variables; write flatten:"),
        ("flatten: {u: r}", "conv: flatten.u: is not a list of rank variables; write flatten:"),
        ("flatten: {u: [r]}", "conv: flatten.u: needs two or more variables, each once"),
        ("flatten: {u: [r, r]}", "conv: flatten.u: needs two or more variables, each once"),
        ("flatten: {u: [r, z]}", "conv: flatten.u: z is no rank variable; use some of c, m, p, r"),
        ("flatten: {m: [r, c]}", "conv: flatten.m: m is no new name; use a name that no rank has"),
        ("flatten: {u: [r, c], v: [c, m]}", "conv: flatten.v: c is flattened already"),
        ("flatten: {u: [r, p]}", "flatten.u: O sums over some of r, p and not over the others"),
    ],
)
def test_a_wrong_section_gets_one_message(section: str, message: str) -> None:
    with pytest.raises(DataflowError) as error:
        workload_of(loads(f"{CONV}{section}\n"))
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("for p tile 1", "for p tile 2+1", "has tiles of 3 values in all, and p has 4; use 4 in"),
        (
            "for p tile 1",
            "for p tile 2\n    for p tile 1+1",
            "names the tiles of p, which a loop above cuts already; name them in the outermost",
        ),
        ("hold buffer: F, I, O", "hold u: F, I, O", "m has no memory u; use one of dram, buffer,"),
        ("hold buffer: F, I, O", "hold rows: F, I, O", "rows may not hold F, the weight"),
    ],
)
def test_a_wrong_node_gets_one_message(old: str, new: str, message: str) -> None:
    rows = NEST.replace(old, new).splitlines()
    deeper = ("for r", "for c", "for m", "compute")
    if "tile 2\n" in new:
        rows = ["  " + row if row.strip().startswith(deeper) else row for row in rows]
    text = "\n".join(rows)
    found = faults(parse_mapping(text), with_format(""), machine())
    assert message in str(found[0])


def test_a_home_that_is_no_memory_is_named() -> None:
    found = faults(parse_mapping(NEST), with_format(", resident: rows"), machine())
    assert "the format of F has it in rows, which is no memory; use one of dram" in str(found[0])


@pytest.mark.parametrize(
    ("section", "message"),
    [
        ("format: {F: {line: 4}}", "format.F.line: is counted by cost, and not searched by map"),
        ("format: {F: {uses: 4}}", "format.F.uses: is counted by cost, and not searched by map"),
        ("format: {F: {resident: B}}", "format.F.resident: is counted by cost, and not searched"),
        ("flatten: {u: [r, c]}", "flatten: is counted by cost, and not searched by map"),
    ],
)
def test_map_says_what_it_does_not_search(section: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"{CONV}{section}\n")
    with pytest.raises(DataflowError) as error:
        api.map_model(path, "simple")
    assert message in str(error.value)


def test_what_cannot_be_counted_one_by_one_is_refused() -> None:
    """Sizes are bounded before memory is taken."""
    large = "P: 1000000000000"
    text = CONV.replace("P: 4", large).replace("p + r", "p + r - 1")
    with pytest.raises(DataflowError, match="index over p, r: has 1000000000000 tiles that are"):
        cost(parse_mapping(NEST), with_format("", text), machine())
    text = CONV.replace("C: 3", "C: 1000000000000").replace("R: 2", "R: 100")
    with pytest.raises(DataflowError, match=r"flatten\.u: has 100000000000000 values; use"):
        with_format("", text + "flatten: {u: [r, c]}\n")


def test_the_tilings_of_a_compiled_network_are_no_mapping_file(tmp_path: Path) -> None:
    path = tmp_path / "mapping.yaml"
    path.write_text("# loops\nformat: mapping/2\narch: edge16\nlayers: []\n")
    with pytest.raises(DataflowError) as error:
        api.cost(path, "edge16")
    assert str(error.value).endswith("give loop_trees.yaml, which compile writes beside it")
