"""Corrupted programs: seeded changes of fields of a good one, sealed again or not."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from dataflow.machine import Machine, isa
from dataflow.machine.decode import STRUCT_OF, decode, fixed_beats, sealed, unpack
from dataflow.machine.isa import Field, Struct, Unit

OP_BYTES = isa.MICRO_OP.bits // 8


@dataclass(frozen=True)
class Place:
    """An element of a field: first bit in the image, width, path of names."""

    at: int
    bits: int
    path: str

    @property
    def name(self) -> str:
        """Of the field, without where it stands."""
        return self.path.rpartition(".")[2].partition("[")[0]


@dataclass(frozen=True)
class Corrupted:
    """A corrupted program.

    Attributes:
        changes: what was changed, for people.
        refused: errors of which the machine must name one, whatever else happens; empty when it
            may take the program.
    """

    code: bytes
    changes: tuple[str, ...]
    refused: frozenset[str]


def places(code: bytes, line_bytes: int) -> tuple[Place, ...]:
    """Every element of every field of a program, its payloads included."""
    found: list[Place] = []
    at = 0
    for number, one in enumerate(decode(code, line_bytes)):
        name = f"{number} {one.unit.name}"
        found += _of(STRUCT_OF[one.unit], at * 8, f"{name}.")
        body = fixed_beats(one.unit, line_bytes) * line_bytes
        ops = _ops(one.fields) if one.unit is Unit.VECTOR else 0
        for i in range(ops):
            found += _of(isa.MICRO_OP, (at + body + OP_BYTES * i) * 8, f"{name}.op[{i}].")
        at += body + len(one.payload)
    return tuple(found)


def _ops(fields: Mapping[str, Any]) -> int:
    return int(fields["ops_init"]) + int(fields["ops_body"]) + int(fields["ops_final"])


def _of(struct: Struct, at: int, path: str) -> Iterator[Place]:
    for member in struct.members:
        if isinstance(member, Field):
            for i in range(member.count):
                suffix = f"[{i}]" if member.count > 1 else ""
                yield Place(at, member.bits, f"{path}{member.name}{suffix}")
                at += member.bits
        else:
            name, inner = member
            yield from _of(inner, at, f"{path}{name}.")
            at += inner.bits


def corrupted(
    code: bytes, of: Machine, where: tuple[Place, ...], rng: random.Random, fields: int
) -> Corrupted:
    """A program with ``fields`` changed fields; one in ten keeps its old checksum."""
    line = of.line_bytes
    chosen = rng.sample(where, fields)
    word, changes = int.from_bytes(code, "little"), []
    for place in chosen:
        mask = (1 << place.bits) - 1
        old = word >> place.at & mask
        near = old ^ 1 << rng.randrange(place.bits), old + 1 & mask, old - 1 & mask
        far = 0, mask, rng.getrandbits(place.bits), rng.getrandbits(min(place.bits, 8))
        drawn = rng.choice((*near, *far))
        new = drawn if drawn != old else old ^ 1 << rng.randrange(place.bits)
        word ^= (old ^ new) << place.at
        changes.append(f"{place.path}: {old} -> {new}")
    image = word.to_bytes(len(code), "little")
    if rng.random() < 0.1:
        return Corrupted(image, (*changes, "checksum as it was"), frozenset())
    refused: frozenset[str] = frozenset()
    if fields == 1:
        refused = _refusal(image, chosen[0].path, of)
    end = all(not place.path.partition(" ")[2].startswith("END") for place in chosen)
    return Corrupted(sealed(image, line) if end else image, tuple(changes), refused)


def _refusal(image: bytes, path: str, of: Machine) -> frozenset[str]:
    """What a program with one changed field must end with, as far as its fields tell."""
    number, _, rest = path.partition(" ")
    unit, _, field = rest.partition(".")
    if field in ("header.version", "header.unit", "header.beats") or unit == "END":
        return frozenset()  # what follows is read as another instruction
    for index, one in enumerate(decode(image, of.line_bytes)):
        kind, fields, payload = one.unit, one.fields, one.payload
        if index != int(number):
            continue
        wrong = list(isa.violations(STRUCT_OF[kind], fields, of))
        if kind is Unit.VECTOR and not wrong:
            for i in range(_ops(fields)):
                op = unpack(isa.MICRO_OP, int.from_bytes(payload[8 * i : 8 * i + 8], "little"))
                wrong += isa.violations(isa.MICRO_OP, op, of)
        return frozenset({"field"}) if wrong else frozenset()
    raise AssertionError(f"no instruction {path}")
