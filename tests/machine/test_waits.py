"""Which events the waits of an instruction may name."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dataflow.arch import load_architecture
from dataflow.machine import isa, machine_of
from dataflow.machine.decode import unpack
from dataflow.machine.isa import Event, Field, Struct, violations

MACHINE = machine_of(load_architecture("edge8"))
ENGINES = (isa.LOAD, isa.ARRAY, isa.VECTOR, isa.STORE)


def waits(struct: Struct, path: str = "") -> Iterator[str]:
    for member in struct.members:
        if not isinstance(member, Field):
            name, inner = member
            if inner is isa.WAIT:
                yield f"{path}{name}"
            yield from waits(inner, f"{path}{name}.")


@pytest.mark.parametrize("struct", ENGINES, ids=lambda struct: struct.name)
def test_every_wait_has_its_events(struct: Struct) -> None:
    assert set(waits(struct)) == set(struct.waits)


@pytest.mark.parametrize("struct", ENGINES, ids=lambda struct: struct.name)
def test_an_event_that_no_tile_waits_for_is_refused(struct: Struct) -> None:
    for path, events in struct.waits.items():
        for event in range(16):
            fields = unpack(struct, 0)
            wait = fields
            for name in path.split("."):
                wait = wait[name]
            wait["event"] = event
            refused = f"{path}.event" in violations(struct, fields, MACHINE)
            assert refused == (event not in (Event.NONE, *events))
