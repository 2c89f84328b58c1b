"""Wrong architecture files: the exact message for each."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from dataflow.arch import load_architecture, resolve
from dataflow.errors import DataflowError
from dataflow.resources import arch_dir
from tests.arch.test_loader import DEVICE, edge16

ROLES = "a list of roles (input, weight, output, intermediate, partial, parameter, program, all)"
NODES = (
    "dram, program_fifo, activations, weights, parameters, accumulators, rows, columns, "
    "weight_registers, mac, lanes, vector"
)

WRONG: list[tuple[str, Any, str]] = [
    (
        "nodes.rows.size",
        0,
        "nodes.rows.size: 0 is not a whole number of instances above 0; use for example 16",
    ),
    (
        "nodes.rows.size",
        "sixteen",
        "nodes.rows.size: 'sixteen' is not a whole number of instances above 0; "
        "use for example 16",
    ),
    (
        "nodes.rows.size",
        16.0,
        "nodes.rows.size: 16.0 is not a whole number of instances above 0; use for example 16",
    ),
    (
        "nodes.rows.size",
        True,
        "nodes.rows.size: True is not a whole number of instances above 0; use for example 16",
    ),
    (
        "nodes.rows.size",
        None,
        "nodes.rows.size: is missing; add size: 16 (a whole number of instances above 0)",
    ),
    (
        "nodes.activations.bank",
        8,
        "nodes.activations.bank: is not a known key; did you mean banks? known keys: kind, under, "
        "size_bytes, size_bits, line_bits, banks, copies, must_hold, may_hold, keep, bypass, "
        "ports, energy_pj, leakage_mw, reads_padding, bus",
    ),
    (
        "nodes.activations.size_bytes",
        -4,
        "nodes.activations.size_bytes: -4 is not a whole number of bytes above 0, or unbounded; "
        "use for example 65536",
    ),
    (
        "nodes.activations.size_bytes",
        100,
        "nodes.activations.size_bytes: 800 bit is not a whole number of lines (1 copies of 128 bit "
        "a line); use a multiple of 128 bit",
    ),
    (
        "nodes.activations.size_bytes",
        None,
        "nodes.activations.size_bytes: is missing; give one of size_bytes, size_bits",
    ),
    (
        "nodes.activations.size_bits",
        64,
        "nodes.activations.size_bytes: size_bytes and size_bits are both there; give one of "
        "size_bytes, size_bits",
    ),
    (
        "nodes.activations.banks",
        7,
        "nodes.activations.banks: 7 does not divide the 16384 lines; use a divisor of the number "
        "of lines",
    ),
    (
        "nodes.activations.ports.feed.does",
        ["peek"],
        "nodes.activations.ports.feed.does[0]: 'peek' is not a list of read, write or both; "
        "use for example [read]",
    ),
    (
        "nodes.activations.ports.feed.bits",
        3,
        "nodes.activations.ports.feed.bits: is not a known key; did you mean min_bits? known keys: "
        "does, bits_per_cycle, min_bits, count, carries, sides",
    ),
    (
        "nodes.activations.ports.feed",
        7,
        "nodes.activations.ports.feed: 7 is not a mapping; use keys: does, bits_per_cycle, "
        "min_bits, count, carries, sides",
    ),
    (
        "nodes.weights.ports",
        {"w": {"does": ["write"], "bits_per_cycle": 8}},
        "nodes.weights.ports: no port reads; add read to what one of them does",
    ),
    (
        "nodes.weights.must_hold",
        ["output"],
        "nodes.weights.must_hold: output is not in may_hold; add output to may_hold",
    ),
    (
        "nodes.weights.may_hold",
        ["weights"],
        f"nodes.weights.may_hold[0]: 'weights' is not {ROLES}; use for example [weight]",
    ),
    (
        "nodes.weights.energy_pj.read",
        float("nan"),
        "nodes.weights.energy_pj.read: nan is not an energy in pJ, 0 or more; "
        "use for example 10.0",
    ),
    (
        "nodes.weights.energy_pj.write",
        -1.0,
        "nodes.weights.energy_pj.write: -1.0 is not an energy in pJ, 0 or more; "
        "use for example 10.0",
    ),
    (
        "nodes.dram.bus.max_burst_beats",
        512,
        "nodes.dram.bus.max_burst_beats: 512 is not a whole number of beats from 1 to 256; "
        "use for example 16",
    ),
    (
        "nodes.dram.bus.device",
        "ddr9",
        "nodes.dram.bus.device: 'ddr9' is not the name of a DRAM device; use ddr3_1600_x16, "
        "ddr4_2400_x64, or a mapping",
    ),
    (
        "nodes.dram.bus.device",
        {**DEVICE, "banks": 0},
        "nodes.dram.bus.device.banks: 0 is not a whole number from 1 to 64; use for example 8",
    ),
    (
        "nodes.dram.bus.device",
        {**DEVICE, "width_bits": 3, "burst_length": 1},
        "nodes.dram.bus.device.burst_length: 1 transfers of 3 bit are no whole bytes; "
        "use 8 transfers",
    ),
    (
        "nodes.dram.bus.device",
        {**DEVICE, "refresh_interval_ns": 260},
        "nodes.dram.bus.device.refresh_interval_ns: a refresh of 260 ns every 260 ns leaves no "
        "time for data; use an interval above refresh_ns",
    ),
    (
        "nodes.mac.executes",
        [{"operators": ["mac"], "inputs": ["int99"], "output": "int32"}],
        "nodes.mac.executes[0].inputs[0]: 'int99' is not a list of dtypes (int1 to int64, uint1 to "
        "uint64, float16, float32, float64, bool); use for example [int9, int9]",
    ),
    (
        "nodes.weights.kind",
        None,
        "nodes.weights.kind: is missing; use one of memory, fanout, compute",
    ),
    (
        "nodes.weights.kind",
        "sram",
        "nodes.weights.kind: 'sram' is not a kind of node; use one of memory, fanout, compute",
    ),
    (
        "nodes.weights.under",
        "sram",
        "nodes.weights.under: sram does not stand above it; name a node above it: dram, "
        "program_fifo, activations",
    ),
    (
        "nodes.weights.under",
        None,
        "nodes.weights.under: is missing; name a node above it: dram, program_fifo, activations",
    ),
    (
        "nodes.dram.under",
        "mac",
        "nodes.dram.under: mac does not stand above it; leave it out: the first node is the root",
    ),
    (
        "nodes.lanes.under",
        "mac",
        "nodes.lanes.under: mac is a compute unit; name a memory or a fan-out",
    ),
    ("nodes.lanes", [1], "nodes.lanes: [1] is not a mapping; write key: value lines"),
    ("nodes", {}, "nodes: {} is not a mapping from node names to nodes, outermost first; "
     "use for example see edge16.yaml"),
    ("version", 2, "version: 2 is not the format version 1; use for example 1"),
    ("name", None, "name: is missing; add name: edge16 (a name of letters, digits and _ that "
     "starts with a letter)"),
    ("name", 'a"; $finish', "name: 'a\"; $finish' is not a name of letters, digits and _ that "
     "starts with a letter; use for example edge16"),
    ("clock_mhz", 0, "clock_mhz: 0 is not a frequency in MHz above 0; use for example 200"),
    ("clok_mhz", 1, "clok_mhz: is not a known key; did you mean clock_mhz? known keys: version, "
     "name, clock_mhz, nodes"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "message"), WRONG, ids=[m[:50] for *_, m in WRONG])
def test_wrong_field_is_named_with_value_and_fix(path: str, value: Any, message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        resolve(edge16((path, value)), "edge.yaml")
    assert str(caught.value) == f"edge.yaml: {message}"


def test_several_wrong_fields_are_all_named() -> None:
    data = edge16(("nodes.rows.size", 0), ("nodes.rows.systolic", "maybe"))
    with pytest.raises(DataflowError) as caught:
        resolve(data, "edge.yaml")
    assert str(caught.value) == (
        "edge.yaml: nodes.rows.size: 0 is not a whole number of instances above 0; use for example "
        "16 (also wrong: nodes.rows.systolic)"
    )


def test_no_compute_unit() -> None:
    data = edge16(*((f"nodes.{name}", None) for name in ("mac", "vector")))
    with pytest.raises(DataflowError) as caught:
        resolve(data, "edge.yaml")
    assert str(caught.value) == (
        "edge.yaml: nodes: there is no compute unit; add a node of kind: compute"
    )


TEXTS: list[tuple[str, str]] = [
    ("", "a.yaml: None is not a mapping; write key: value lines"),
    ("[1, 2]", "a.yaml: [1, 2] is not a mapping; write key: value lines"),
    ("1: 2", "a.yaml: the key 1 is not text; quote it or rename it"),
    (
        "name: a\nname: b\n",
        "a.yaml, line 2, column 1: the key 'name' is there twice; correct the YAML there",
    ),
    (
        "a: &x [1]\nb: *x\n",
        "a.yaml, line 2, column 4: an alias (*name) is not allowed here; correct the YAML there",
    ),
    (
        "a: [1\nb: 2\n",
        "a.yaml, line 2, column 2: expected ',' or ']', but got ':'; correct the YAML there",
    ),
    (
        "a: !!python/object:os.system x\n",
        "a.yaml, line 1, column 4: could not determine a constructor for the tag "
        "'tag:yaml.org,2002:python/object:os.system'; correct the YAML there",
    ),
    ("[" * 5000, "a.yaml: is nested more than 64 deep; write it flat"),
]


@pytest.mark.parametrize(("text", "message"), TEXTS, ids=[m[:40] for _, m in TEXTS])
def test_wrong_yaml_is_located(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(DataflowError) as caught:
        load_architecture(file)
    assert str(caught.value) == message


def test_repeated_key_inside_a_node(tmp_path: Path) -> None:
    text = (arch_dir() / "edge16.yaml").read_text()
    file = tmp_path / "twice.yaml"
    file.write_text(text.replace("    banks: 8\n", "    banks: 8\n    banks: 4\n"))
    with pytest.raises(DataflowError, match=r"^twice.yaml, line \d+, column 5: the key 'banks' is"):
        load_architecture(file)


def test_binary_file(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataflowError) as caught:
        load_architecture(file)
    assert str(caught.value) == "a.yaml: is not UTF-8 text; give a YAML file"


def test_file_that_is_too_long(tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("#" * (1 << 20) + "#")
    with pytest.raises(DataflowError) as caught:
        load_architecture(file)
    assert str(caught.value) == (
        "a.yaml: is 1048577 bytes long, more than 1048576; give an architecture file"
    )


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "egde16",
            "egde16: is not the name of a built-in architecture nor a file; did you mean edge16? "
            "use edge8, edge16, edge32, flat, nvdla, simple, eyeriss, fusemax, tpu_like or the "
            "path of a YAML file",
        ),
        ("none/edge.yaml", "none/edge.yaml: there is no such architecture file; "
         "give an existing file"),
        (
            "",
            "--arch: is not the name of a built-in architecture nor a file; use edge8, edge16, "
            "edge32, flat, nvdla, simple, eyeriss, fusemax, tpu_like or the path of a YAML file",
        ),
    ],
)  # fmt: skip
def test_unknown_name(name: str, message: str) -> None:
    with pytest.raises(DataflowError) as caught:
        load_architecture(name)
    assert str(caught.value) == message
