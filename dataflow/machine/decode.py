"""Packed instructions back to fields: the inverse of `isa.pack`."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from dataflow.machine import isa
from dataflow.machine.isa import Field, Struct, Unit
from dataflow.machine.steps import strided

STRUCT_OF: dict[Unit, Struct] = {
    Unit.LOAD: isa.LOAD,
    Unit.ARRAY: isa.ARRAY,
    Unit.VECTOR: isa.VECTOR,
    Unit.STORE: isa.STORE,
    Unit.END: Struct("end_t", (("header", isa.HEADER),)),
}

Fields = dict[str, Any]
"""A decoded group: int, list of int (counted fields) or nested group by field name."""


def unpack(struct: Struct, word: int) -> Fields:
    """Fields of a packed group."""
    result: Fields = {}
    for member in struct.members:
        if isinstance(member, Field):
            values = [_element(member, word >> (i * member.bits)) for i in range(member.count)]
            result[member.name] = values[0] if member.count == 1 else values
            word >>= member.bits * member.count
        else:
            name, inner = member
            result[name] = unpack(inner, word & ((1 << inner.bits) - 1))
            word >>= inner.bits
    return result


def _element(field: Field, word: int) -> int:
    value = word & ((1 << field.bits) - 1)
    return value - (1 << field.bits) if field.signed and value >> (field.bits - 1) else value


def fixed_beats(unit: Unit, line_bytes: int) -> int:
    """Beats of an instruction's fixed fields; the payload starts behind them."""
    return -(-STRUCT_OF[unit].bits // (8 * line_bytes))


def checksum(code: bytes) -> int:
    """The sum of 32-bit words that END holds of everything before it (`hw/rtl/ctrl/fetch.sv`)."""
    total = 0
    for (word,) in struct.iter_unpack("<I", code):
        total = ((total << 1 | total >> 31) & 0xFFFFFFFF) ^ word
    return total


def sealed(code: bytes, line_bytes: int) -> bytes:
    """A program image, END as its last beat, with its checksum."""
    end = len(code) - line_bytes
    head = code[:end] + code[end : end + 4] + checksum(code[:end]).to_bytes(4, "little")
    return head + code[end + 8 :]


@dataclass(frozen=True)
class Decoded:
    """An instruction as an engine sees it."""

    unit: Unit
    fields: Fields
    payload: bytes


def decode(code: bytes, line_bytes: int) -> Iterator[Decoded]:
    """The instructions of a program image up to and with END.

    Raises `ValueError` when the image is not a program: wrong version or length.
    """
    at = 0
    while True:
        if at + line_bytes > len(code):
            raise ValueError("the program ends without END")
        header = unpack(isa.HEADER, int.from_bytes(code[at : at + isa.HEADER.bits // 8], "little"))
        if header["version"] != isa.VERSION or not header["beats"]:
            raise ValueError(f"no instruction at byte {at}")
        unit, size = Unit(header["unit"]), header["beats"] * line_bytes
        body = code[at : at + size]
        fixed = fixed_beats(unit, line_bytes) * line_bytes
        fields = unpack(STRUCT_OF[unit], int.from_bytes(body[:fixed], "little"))
        yield Decoded(unit, strided(STRUCT_OF[unit], fields), body[fixed:])
        at += size
        if unit is Unit.END:
            return
