"""The call graph of an emitted project as an HLS tool sees it: what is inlined has no instance."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_HEAD = re.compile(r"^(?!namespace|#|struct|typedef|static|const)[^;{}]*?\b(\w+)\([^;{}]*\)\s*$")


@dataclass(frozen=True)
class Function:
    """A function definition.

    Attributes:
        body: its text.
        inlined: into its callers, by directive.
    """

    name: str
    body: str
    inlined: bool

    def calls(self, name: str) -> int:
        """Places at which it calls ``name``."""
        return len(re.findall(rf"\b{name}\s*(?:<[^<>()]*>)?\(", self.body))


def functions(folder: Path) -> dict[str, Function]:
    """The functions of the headers and of ``network.cpp``; of overloads the bodies together."""
    found: dict[str, Function] = {}
    for path in [*sorted(folder.glob("*.h")), folder / "network.cpp"]:
        text = _COMMENT.sub("", path.read_text())
        text = re.sub(r'extern "C"|^#(?!pragma HLS).*$', "", text, flags=re.MULTILINE)
        text = re.sub(r"namespace df \{|DF_NOINLINE", "", text)
        depth, start, head = 0, 0, ""
        for position, character in enumerate(text):
            if character == "{":
                if depth == 0:
                    head, start = text[start:position], position
                depth += 1
            elif character == "}":
                depth -= 1
                if depth == 0:
                    _add(found, head, text[start : position + 1])
                    start = position + 1
                depth = max(depth, 0)
            elif character == ";" and depth == 0:
                start = position + 1
    return found


def _add(found: dict[str, Function], head: str, body: str) -> None:
    match = _HEAD.match(" ".join(head.split()))
    if match is None:
        return
    name = match[1]
    inlined = re.search(r"#pragma HLS INLINE\s*$", body, re.MULTILINE) is not None
    before = found[name].body if name in found else ""
    found[name] = Function(name, before + body, inlined)


def hosts(folder: Path, name: str) -> set[str]:
    """The functions with an instance of ``name``: its callers, inlined ones replaced by theirs."""
    known = functions(folder)
    assert name in known, f"no function {name}"
    assert not known[name].inlined, f"{name} is inlined: as many instances as calls"
    found, seen, ahead = set(), {name}, [name]
    while ahead:
        callee = ahead.pop()
        for caller in known.values():
            if caller.name not in seen and caller.calls(callee):
                seen.add(caller.name)
                if caller.inlined:
                    ahead.append(caller.name)
                else:
                    found.add(caller.name)
    return found
