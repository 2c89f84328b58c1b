"""Mutations of any protobuf message, by its descriptor."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import (  # type: ignore[import-untyped, unused-ignore]
    FieldDescriptor,
)
from google.protobuf.message import Message  # type: ignore[import-untyped, unused-ignore]

INTEGERS = (0, 1, -1, 2, 3, 7, 63, 255, 256, 65537, 1 << 24, 1 << 31, -(1 << 31), 1 << 40)
EXTREMES = ((1 << 63) - 1, -(1 << 63), 1 << 62, (1 << 32) + 1)
FLOATS = (0.0, -0.0, 1.0, -1.0, 1e-45, 1e-30, 3e38, float("inf"), float("-inf"), float("nan"), 0.1)
TEXTS = (
    "",
    "x",
    "a; $finish",
    '"><script>',
    "../../../etc/passwd",
    "/etc/passwd",
    "\0",
    "é\u202e\n",
    "n" * 5000,
    "ai.onnx.ml",
    "com.microsoft",
    "$(touch owned)",
    "%s%n",
)

KINDS = {
    FieldDescriptor.CPPTYPE_INT32: "int",
    FieldDescriptor.CPPTYPE_INT64: "int",
    FieldDescriptor.CPPTYPE_UINT32: "uint",
    FieldDescriptor.CPPTYPE_UINT64: "uint",
    FieldDescriptor.CPPTYPE_ENUM: "enum",
    FieldDescriptor.CPPTYPE_FLOAT: "float",
    FieldDescriptor.CPPTYPE_DOUBLE: "float",
    FieldDescriptor.CPPTYPE_STRING: "text",
    FieldDescriptor.CPPTYPE_MESSAGE: "message",
}

MOST_MESSAGES = 4000
"""Messages of a model that are looked at, in breadth-first order."""


@dataclass(frozen=True)
class Place:
    """A set field of a message."""

    owner: Message
    field: FieldDescriptor

    @property
    def kind(self) -> str:
        if self.field.type == FieldDescriptor.TYPE_BYTES:
            return "bytes"
        return KINDS.get(self.field.cpp_type, "bool")

    @property
    def repeated(self) -> bool:
        # `is_repeated` replaces `label` in newer versions of protobuf.
        found = getattr(self.field, "is_repeated", None)
        return bool(self.field.label == FieldDescriptor.LABEL_REPEATED if found is None else found)

    @property
    def value(self) -> Any:
        return getattr(self.owner, self.field.name)


def messages(root: Message) -> list[Message]:
    """The message and those inside it."""
    found = [root]
    for message in found:
        for place in places(message):
            if place.kind == "message":
                found.extend(place.value if place.repeated else [place.value])
        if len(found) > MOST_MESSAGES:
            break
    return found


def places(message: Message) -> Iterator[Place]:
    """The fields of a message that are set."""
    for field, _ in message.ListFields():
        yield Place(message, field)


def mutate(root: Message, pick: random.Random, donor: Message | None = None) -> None:
    """Changes one field somewhere in ``root``; ``donor`` gives messages to copy from."""
    inside = messages(root)
    for _ in range(20):
        owner = pick.choice(inside)
        found = list(places(owner))
        if found:
            break
    else:
        return
    place = pick.choice(found)
    if place.repeated:
        _change_list(place, pick, donor)
    elif pick.random() < 0.15:
        owner.ClearField(place.field.name)
    elif place.kind == "message":
        _replace(place.value, pick, donor or root)
    else:
        setattr(owner, place.field.name, scalar(place, place.value, pick))


def scalar(place: Place, old: Any, pick: random.Random) -> Any:
    """Another value of the field's type, near the old one or extreme."""
    kind = place.kind
    if kind in ("int", "uint"):
        bits = 32 if "32" in _type_name(place.field) else 64
        chosen = pick.choice([old + 1, old - 1, old * 2, *INTEGERS, *EXTREMES])
        if kind == "uint":
            return chosen % (1 << bits)
        return (chosen + (1 << (bits - 1))) % (1 << bits) - (1 << (bits - 1))
    if kind == "enum":
        values = [v.number for v in place.field.enum_type.values]
        return pick.choice(values)
    if kind == "float":
        return pick.choice([old * 2, -old, *FLOATS])
    if kind == "bool":
        return not old
    if kind == "text":
        return pick.choice([*TEXTS, old + "_", old[:-1]])
    return _bytes(old, pick)


def _type_name(field: FieldDescriptor) -> str:
    wide = (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64)
    return "64" if field.cpp_type in wide else "32"


def _bytes(old: bytes, pick: random.Random) -> bytes:
    choice = pick.randrange(4)
    if choice == 0 and old:
        at = pick.randrange(len(old))
        return old[:at] + bytes([pick.randrange(256)]) + old[at + 1 :]
    if choice == 1:
        return old[: pick.randrange(len(old) + 1)]
    if choice == 2:
        return old + bytes(pick.randrange(256) for _ in range(pick.choice([1, 3, 8])))
    return pick.choice([b"", b"\xff" * len(old), b"\0" * len(old), b"SAME_UPPER", b"\xff\xfe"])


def _change_list(place: Place, pick: random.Random, donor: Message | None) -> None:
    values = place.value
    at = pick.randrange(len(values))
    choice = pick.randrange(5)
    if choice == 0:
        del values[at]
    elif choice == 1 and len(values) > 1:
        _swap(values, at, pick.randrange(len(values)), place.kind == "message")
    elif choice == 2:
        if place.kind == "message":
            values.add().CopyFrom(values[at])
        else:
            values.extend([scalar(place, values[at], pick)] * pick.choice([1, 1, 4, 40]))
    elif choice == 3 and pick.random() < 0.3:
        del values[:]
    elif place.kind == "message":
        _replace(values[at], pick, donor or values[at])
    else:
        values[at] = scalar(place, values[at], pick)


def _swap(values: Any, a: int, b: int, deep: bool) -> None:
    if not deep:
        values[a], values[b] = values[b], values[a]
        return
    kept = type(values[a])()
    kept.CopyFrom(values[a])
    values[a].CopyFrom(values[b])
    values[b].CopyFrom(kept)


def _replace(message: Message, pick: random.Random, donor: Message) -> None:
    """Copies a message of the same type from the donor, or changes one field of this one."""
    same = [m for m in messages(donor) if m.DESCRIPTOR is message.DESCRIPTOR and m is not message]
    if same and pick.random() < 0.5:
        copy = type(message)()
        copy.CopyFrom(pick.choice(same))
        message.CopyFrom(copy)
        return
    found = [p for p in places(message) if not p.repeated and p.kind != "message"]
    if found:
        place = pick.choice(found)
        setattr(message, place.field.name, scalar(place, place.value, pick))
