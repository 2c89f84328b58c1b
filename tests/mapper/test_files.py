"""The mapping file: round trip, bytes, and messages for what is wrong with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dataflow.arch import load_architecture
from dataflow.errors import DataflowError
from dataflow.layers.plan import NetworkMapping
from dataflow.machine import machine_of
from dataflow.mapper import load_mapping, map_network, save_mapping
from dataflow.mapper.files import mapping_text
from tests.mapper.graphs import dscnn, resnet8

EDGE8 = machine_of(load_architecture("edge8"))


@pytest.fixture(scope="module")
def mapping() -> NetworkMapping:
    return map_network(dscnn(), EDGE8)


def test_round_trip_keeps_every_number(mapping: NetworkMapping, tmp_path: Path) -> None:
    save_mapping(mapping, tmp_path / "m.yaml")
    loaded = load_mapping(tmp_path / "m.yaml")
    assert loaded.tilings == mapping.tilings
    assert loaded.memory == mapping.memory
    assert (
        loaded.arch,
        loaded.objective,
        loaded.model_bound,
        loaded.model_optimal,
        loaded.bound,
    ) == (
        mapping.arch,
        mapping.objective,
        mapping.model_bound,
        mapping.model_optimal,
        mapping.bound,
    )
    assert mapping_text(loaded) == mapping_text(mapping)


def test_the_same_network_gives_the_same_bytes() -> None:
    assert mapping_text(map_network(resnet8(), EDGE8)) == mapping_text(
        map_network(resnet8(), EDGE8)
    )


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("format: mapping/2", "format: mapping/9", "m.yaml: format: 'mapping/9' is not"),
        ("arch: edge8", "archh: edge8", "m.yaml: arch: is missing"),
        ("ports: 3", "ports: 4", "4 is not an integer from 1 to 3"),
        ("place: resident}", "place: none}", "source.place: 'none' is not possible"),
        ("weight_depth: 0", "weight_depth: -1", "-1 is not an integer from 0"),
    ],
)
def test_a_wrong_field_is_named(
    mapping: NetworkMapping, tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = mapping_text(mapping)
    assert old in text
    path = tmp_path / "m.yaml"
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataflowError) as error:
        load_mapping(path)
    assert message in str(error.value).replace(str(tmp_path) + "/", "")


@pytest.mark.parametrize("text", ["[1, 2]", "a: [", "\x00"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "m.yaml"
    path.write_text(text)
    with pytest.raises(DataflowError, match="give a file that map or compile wrote"):
        load_mapping(path)


def test_a_loop_with_two_dims_is_refused(mapping: NetworkMapping, tmp_path: Path) -> None:
    text = mapping_text(mapping)
    at = text.index("- {p: ")
    end = text.index("}", at)
    path = tmp_path / "m.yaml"
    path.write_text(text[:end] + ", q: 2" + text[end:])
    with pytest.raises(DataflowError, match="each loop names one dim"):
        load_mapping(path)
