"""Set expressions over roles and names of tensors."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dataflow.arch import FanOut, Memory, architecture_path, load_architecture, parse_set, resolve
from dataflow.errors import DataflowError


@pytest.mark.parametrize(
    ("text", "members"),
    [
        ("all", "A W O"),
        ("weight", "W"),
        ("~weight", "A O"),
        ("input | output", "A O"),
        ("all - W", "A O"),
        ("all & ~intermediate", "A W"),
        ("input | weight & X", "A"),
        ("(input | weight) & W", "W"),
        ("~~weight", "W"),
        ("~(input | weight)", "O"),
    ],
)
def test_a_set_has_its_members(text: str, members: str) -> None:
    tags = {"A": {"A", "input"}, "W": {"W", "weight"}, "O": {"O", "output", "intermediate"}}
    found = parse_set(text, "x")
    assert [name for name in "AWO" if found.matches(tags[name])] == members.split()
    again = parse_set(str(found), "x")
    assert [again.matches(t) for t in tags.values()] == [found.matches(t) for t in tags.values()]


@pytest.mark.parametrize("text", ["", "a b", "a &", "(a", "a)", "~", "a + b", "(" * 120])
def test_a_wrong_set_is_refused(text: str) -> None:
    with pytest.raises(DataflowError, match="is not a set of tensors"):
        parse_set(text, "x.yaml: nodes.m.keep")


def test_keep_bypass_least_use_are_read_and_checked() -> None:
    data = yaml.safe_load(Path(architecture_path("nvdla")).read_text())
    data["nodes"]["GlobalBuffer"]["keep"] = "input & ~X"
    data["nodes"]["GlobalBuffer"]["bypass"] = "weight"
    data["nodes"]["rows"]["least_use"] = 4
    arch = resolve(data, "n.yaml")
    memory = arch.find("GlobalBuffer")
    assert isinstance(memory, Memory)
    assert memory.keep.matches({"Y", "input"}) and not memory.keep.matches({"X", "input"})
    assert memory.bypass.matches({"W", "weight"})
    rows = arch.find("rows")
    assert isinstance(rows, FanOut) and rows.least_use == 4
    nvdla = load_architecture("nvdla").find("rows")
    assert isinstance(nvdla, FanOut) and nvdla.least_use is None
    data["nodes"]["rows"]["least_use"] = 33
    with pytest.raises(DataflowError) as error:
        resolve(data, "n.yaml")
    assert str(error.value) == (
        "n.yaml: nodes.rows.least_use: 33 is more than the 32 instances; use at most 32, or largest"
    )
    data["nodes"]["rows"]["least_use"] = "largest"
    data["nodes"]["GlobalBuffer"]["keep"] = "input &"
    with pytest.raises(DataflowError, match=r"nodes.GlobalBuffer.keep: 'input &' is not a set"):
        resolve(data, "n.yaml")
