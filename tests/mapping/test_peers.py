"""The golden mappings as files of AccelForge and ZigZag give the same counts."""

from __future__ import annotations

from typing import Any

import pytest

from dataflow.cost import cost
from dataflow.cost.stalls import stalled
from dataflow.errors import DataflowError
from dataflow.mapping.peers import (
    accelforge_architecture,
    accelforge_mapping,
    zigzag_architecture,
    zigzag_mapping,
)
from dataflow.units import exact
from tests.cost import test_stalls
from tests.mapping import golden


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{k}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(v) for v in value) + "]"
    return str(value)


def accelforge_machine(name: str) -> str:
    """An architecture of the golden file as AccelForge writes it: bits, joules, seconds."""
    spec = golden.golden()["architectures"][name]
    word = spec["word_bits"]
    lines = ["arch:", "  nodes:"]
    kinds = {"all": "All", "not_intermediate": "~Intermediates", "weight": "weight"}
    for level in spec["levels"]:
        size = "inf" if level["size_words"] is None else f"{level['size_words']} * {word}"
        rate = level["words_per_ns"]
        speed = "inf" if rate is None else f"{rate * word} * 1e9"
        actions = [
            {
                "name": action,
                "energy": f"{level[f'{action}_pJ']}e-12 / {word}",
                "throughput": speed,
                "latency": 0,
            }
            for action in ("read", "write")
        ]
        keep = {"keep": kinds[level["must_hold"]], "may_keep": kinds[level["may_hold"]]}
        lines += ["  - !Memory", f"    name: {level['name']}", f"    size: {size}"]
        lines += [f"    tensors: {_flow(keep)}", f"    actions: {_flow(actions)}"]
        if spec.get("fanout_below") == level["name"]:
            fans = [
                {"name": f["name"], "fanout": f["size"], "reuse": f["reuse"]}
                for f in spec["fanout"]
            ]
            lines += ["  - !Container", "    name: PE", f"    spatial: {_flow(fans)}"]
    mac = spec["mac"]
    rate = f"{mac['macs_per_ns']} * 1e9"
    action = {"name": "compute", "energy": f"{mac['compute_pJ']}e-12", "throughput": rate}
    lines += ["  - !Compute", f"    name: {mac['name']}", f"    actions: [{_flow(action)}]"]
    return "\n".join(lines) + "\n"


def accelforge_nest(rows: list[dict[str, Any]], indent: int) -> list[str]:
    pad = " " * indent
    lines = []
    for row in rows:
        if "hold" in row:
            text = f"!Storage {_flow({'tensors': row['tensors'], 'component': row['hold']})}"
        elif "for" in row:
            text = f"!Temporal {_flow({'rank_variable': row['for'], 'tile_shape': row['tile']})}"
        elif "par" in row:
            fields = {"rank_variable": row["par"], "tile_shape": row["tile"]}
            text = f"!Spatial {_flow({**fields, 'name': row['fanout'], 'component': 'PE'})}"
        elif "compute" in row:
            text = f"!Compute {_flow({'einsum': row['compute'], 'component': 'MAC'})}"
        else:
            lines += [f"{pad}- !Sequential", f"{pad}  nodes:"]
            for part in row["seq"]:
                lines += [f"{pad}  - !Nested", f"{pad}    nodes:"]
                lines += accelforge_nest(part, indent + 4)
            continue
        lines.append(f"{pad}- {text}")
    return lines


@pytest.mark.parametrize("name", golden.CASES)
def test_accelforge_files_give_the_golden_counts(name: str) -> None:
    case = golden.case(name)
    text = "mapping:\n  nodes:\n" + "\n".join(accelforge_nest(case["mapping"], 2)) + "\n"
    mapping = accelforge_mapping(text, "m.yaml")
    assert mapping == golden.mapping(name)
    arch = accelforge_architecture(accelforge_machine(case["architecture"]), "a.yaml")
    found = cost(mapping, golden.workload(case["workload"]), arch)
    counted: dict[tuple[str, str, str], list[int]] = {}
    for einsum in found.counts:
        for m in einsum.moved:
            row = counted.setdefault((einsum.einsum, m.level, m.operand.tensor), [0, 0])
            row[m.action == "write"] += m.words
    assert counted == {
        (c["einsum"], c["level"], c["tensor"]): [c["reads"], c["writes"]] for c in case["counts"]
    }
    assert found.energy_pj == exact(case["energy_pJ"])
    assert found.cycles == case["latency_ns"]


ZIGZAG_MACHINE = """\
name: zz
memories:
  w_reg:
    {size: 8, r_bw: 8, w_bw: 8, r_cost: 0.01, w_cost: 0.02, area: 0, r_port: 1, w_port: 1,
     rw_port: 0, latency: 1, operands: [I2], ports: [{fh: w_port_1, tl: r_port_1}],
     served_dimensions: []}
  acc_reg:
    {size: 32, r_bw: 32, w_bw: 32, r_cost: 0.02, w_cost: 0.03, area: 0, r_port: 2, w_port: 2,
     rw_port: 0, latency: 1, operands: [O],
     ports: [{fh: w_port_1, tl: r_port_1, fl: w_port_2, th: r_port_2}], served_dimensions: [D2]}
  sram:
    {size: 131072, r_bw: 256, w_bw: 256, r_cost: 10, w_cost: 12, min_r_granularity: 64,
     min_w_granularity: 64, operands: [I1, I2, O],
     ports: [{fh: w_port_1, tl: r_port_1}, {fh: w_port_1, tl: r_port_1},
             {fh: w_port_1, tl: r_port_1, fl: w_port_1, th: r_port_1}],
     served_dimensions: [D1, D2]}
  dram:
    {size: 10000000000, r_bw: 64, w_bw: 64, r_cost: 640, w_cost: 640, operands: [I1, I2, O],
     ports: [{fh: rw_port_1, tl: rw_port_1}, {fh: rw_port_1, tl: rw_port_1},
             {fh: rw_port_1, tl: rw_port_1, fl: rw_port_1, th: rw_port_1}],
     served_dimensions: [D1, D2]}
operational_array: {unit_energy: 0.1, unit_area: 1, dimensions: [D1, D2], sizes: [8, 8]}
"""

ZIGZAG_MAPPING = """\
- name: default
  spatial_mapping: {D1: [D1, 8], D2: [D2, 8]}
  temporal_mapping:
    O: [[], [[D0, 4], [D0, 16], [D2, 4], [D2, 2], [D1, 2]], [[D1, 4]]]
    W: [[[D0, 4], [D0, 16]], [[D2, 4], [D2, 2], [D1, 2], [D1, 4]], []]
    I: [[[D0, 4], [D0, 16], [D2, 4], [D2, 2], [D1, 2], [D1, 4]], []]
  memory_operand_links: {O: O, W: I2, I: I1}
"""


def test_zigzag_files_give_the_published_latency_and_energy() -> None:
    arch = zigzag_architecture(ZIGZAG_MACHINE, "zz.yaml", 32)
    workload = test_stalls.workload()
    mapping = zigzag_mapping(ZIGZAG_MAPPING, "m.yaml", workload.works[0], arch)
    (found,) = stalled(mapping, workload, arch)
    assert found.cycles == 9181
    assert found.energy_pj == exact(1118638.08)
    assert found.stalls == test_stalls.gemm().stalls


def test_zigzag_loops_are_those_of_the_published_case() -> None:
    case = golden.case("Z1_gemm64_simple_8x8_latency")
    arch = zigzag_architecture(ZIGZAG_MACHINE, "zz.yaml", 32)
    levels = {t: o["temporal_loops_per_level"] for t, o in case["operands"].items()}
    text = (
        "spatial_mapping: {D1: [d1, 8], D2: [d2, 8]}\n"
        f"temporal_mapping: {_flow({t: levels[t] for t in ('O', 'W', 'I')})}\n"
    )
    work = test_stalls.workload().works[0]
    assert zigzag_mapping(text, "m.yaml", work, arch) == zigzag_mapping(
        ZIGZAG_MAPPING, "m.yaml", work, arch
    )


MACHINE = """\
arch:
  nodes:
  - !Memory
    name: Main
    size: inf
    tensors: {keep: ~Intermediates, may_keep: All}
    actions:
    - {name: read, energy: 1e-12, throughput: inf}
    - {name: write, energy: 1e-12, throughput: inf}
  - !Compute
    name: MAC
    actions: [{name: compute, energy: 1e-12, throughput: 1e9}]
"""


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("!Memory", "!Cache", "arch.nodes[0]: !Cache is not known; use !Memory, !Container"),
        ("size: inf", "size: weight.bits", "arch.nodes[0].size: 'weight.bits' is no number"),
        ("size: inf", "size: 2**9999", "arch.nodes[0].size: '2**9999' is no number"),
        ("size: inf", "size: 1e9999", "arch.nodes[0].size: '1e9999' is no number"),
        ("arch:", "arc:", "a.yaml: arch: is no mapping; write key: value"),
        ("name: write", "name: wipe", "arch.nodes[0].actions: write is missing; add the action"),
        ("name: Main", "name: {{x}}", "a.yaml: holds template marks ({{ or {%); fill"),
        ("size: inf", "size: 8\n    size: 9", "a.yaml:6: the key 'size' is there twice"),
        ("  - !Compute", "  - !Container", "arch.nodes: there is no compute unit; add a !Compute"),
        ("~Intermediates", "~Intermediates &", "keep: '~intermediate &' is not a set of tensors"),
    ],
)
def test_a_wrong_accelforge_machine_gets_one_message(old: str, new: str, message: str) -> None:
    assert accelforge_architecture(MACHINE, "a.yaml").clock_mhz == 1000
    with pytest.raises(DataflowError) as error:
        accelforge_architecture(MACHINE.replace(old, new), "a.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("nodes", "message"),
    [
        ("[!Loop {}]", "mapping.nodes[0]: !Loop is not known; use !Storage"),
        ("[!Temporal {rank_variable: m}]", "mapping.nodes[0].tile_shape: is missing; add"),
        ("[!Temporal {rank_variable: m, tile_shape: 0}]", "tile_shape: 0 is no whole number"),
        ("[!Storage {tensors: [A], component: M}]", "mapping.nodes: does not end in a !Compute"),
        ("[{a: b}]", "mapping.nodes[0]: has no tag; write !Storage"),
        ("7", "mapping.nodes: is no list; write a list"),
    ],
)
def test_a_wrong_accelforge_mapping_gets_one_message(nodes: str, message: str) -> None:
    with pytest.raises(DataflowError) as error:
        accelforge_mapping(f"mapping: {{nodes: {nodes}}}\n", "m.yaml")
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("[[D1, 4]]]", "[[D1, 2]]]", "temporal_mapping.W: has other loops than O; use one order"),
        ("D1: [D1, 8]", "D7: [D1, 8]", "spatial_mapping.D7: zz has no dimension D7"),
        ("[[], [[D0, 4]", "[[[D0, 4]", "temporal_mapping.O: has 2 levels, zz 3; give the loops"),
        ("[D1, 4]]]", "[Q, 4]]]", "['Q', '4'] is no loop of O; write [variable, trips]"),
    ],
)
def test_a_wrong_zigzag_mapping_gets_one_message(old: str, new: str, message: str) -> None:
    arch = zigzag_architecture(ZIGZAG_MACHINE, "zz.yaml", 32)
    work = test_stalls.workload().works[0]
    with pytest.raises(DataflowError) as error:
        zigzag_mapping(ZIGZAG_MAPPING.replace(old, new, 1), "m.yaml", work, arch)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("sizes: [8, 8]", "sizes: [8]", "operational_array.sizes: has 1 sizes for 2 dimensions"),
        ("served_dimensions: [D2]", "served_dimensions: [D1]", ""),
        ("fh: w_port_1", "xx: w_port_1", "memories.w_reg.ports: 'xx' is no direction; use fh"),
        ("size: 131072", "size: 0", "memories.sram.size: 0 is no whole number above 0"),
    ],
)
def test_a_wrong_zigzag_machine_gets_one_message(old: str, new: str, message: str) -> None:
    text = ZIGZAG_MACHINE.replace(old, new, 1)
    if not message:
        text = text.replace("served_dimensions: []", "served_dimensions: [D2]", 1)
        message = "is served, and a memory above does not serve it"
    with pytest.raises(DataflowError) as error:
        zigzag_architecture(text, "zz.yaml")
    assert message in str(error.value)
