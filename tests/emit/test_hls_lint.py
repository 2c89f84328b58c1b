"""The pragma linter: what it accepts, and a message for each kind of fault."""

from __future__ import annotations

import pytest

from dataflow.resources import hls_dir
from tests.emit.hls_lint import array_types, lint

GOOD = """
typedef int line_t[8];
void f(int *mem, line_t tile[4], int n) {
#pragma HLS INTERFACE m_axi port=mem offset=slave bundle=g0 depth=16
#pragma HLS INTERFACE s_axilite port=return bundle=control
  int weight[8][8];  // for (x) {
#pragma HLS ARRAY_PARTITION variable=weight dim=2 type=complete
#pragma HLS ARRAY_PARTITION variable=tile dim=2 type=cyclic factor=df::kLine
  for (int i = 0; i < n; ++i) {
#pragma HLS LOOP_TRIPCOUNT min=1 max=8
#pragma HLS PIPELINE II=1
    mem[i] = weight[i][0] + tile[0][i];
  }
}
"""


def test_correct_pragmas_have_no_findings() -> None:
    assert lint(GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PIPELINE II=1", "PIPELIN II=1", "line 11: unknown pragma 'PIPELIN'"),
        ("PIPELINE II=1", "PIPELINE ii=1", "line 11: PIPELINE: unknown key 'ii'"),
        ("PIPELINE II=1", "PIPELINE II=0", "line 11: PIPELINE: II=0 is no legal value"),
        ("PIPELINE II=1", "PIPELINE II=1 fast", "line 11: PIPELINE: unknown word 'fast'"),
        ("PIPELINE II=1", "PIPELINE II=1 II=2", "line 11: PIPELINE: II is given twice"),
        ("min=1 max=8", "min=9 max=8", "line 10: LOOP_TRIPCOUNT: min is larger than max"),
        ("min=1 max=8", "min=1", "line 10: LOOP_TRIPCOUNT: max is missing"),
        (
            "variable=weight dim=2",
            "variable=weigth dim=2",
            "line 7: ARRAY_PARTITION: no variable 'weigth' is declared before",
        ),
        (
            "variable=weight dim=2",
            "variable=weight dim=3",
            "line 7: ARRAY_PARTITION: weight has 2 dimensions",
        ),
        (
            "variable=tile dim=2",
            "variable=tile dim=3",
            "line 8: ARRAY_PARTITION: tile has 2 dimensions",
        ),
        (
            "type=cyclic factor=df::kLine",
            "type=cyclic",
            "line 8: ARRAY_PARTITION: type=cyclic needs a factor",
        ),
        ("port=mem", "port=memory", "line 4: INTERFACE: no variable 'memory' is declared before"),
        (
            "#pragma HLS PIPELINE II=1\n    mem",
            "    ++n;\n#pragma HLS PIPELINE II=1\n    mem",
            "line 12: PIPELINE must stand in front of the statements of its loop",
        ),
        (
            "  int weight[8][8];",
            "  int weight[8][8];\n#pragma HLS UNROLL",
            "line 7: UNROLL must stand in a loop, not in a function",
        ),
        ("#pragma HLS PIPE", "#pragma hls PIPE", "line 11: pragma HLS is written in capitals"),
        (
            "  int weight[8][8];",
            "  int\n#pragma HLS INLINE\n weight[8][8];",
            "line 7: INLINE stands inside a statement",
        ),
    ],
)  # fmt: skip
def test_each_fault_is_found(old: str, new: str, message: str) -> None:
    assert GOOD.count(old) == 1
    found = [str(finding) for finding in lint(GOOD.replace(old, new))]
    assert message in found


def test_a_variable_of_another_function_is_not_in_scope() -> None:
    text = (
        GOOD + "void g(int k) {\n#pragma HLS BIND_STORAGE variable=weight type=ram_2p\n  ++k;\n}\n"
    )
    assert [f.message for f in lint(text)] == [
        "BIND_STORAGE: no variable 'weight' is declared before"
    ]


def test_the_library_is_clean() -> None:
    headers = {path.name: path.read_text() for path in sorted(hls_dir().glob("*.h"))}
    types = array_types(headers.values())
    assert types["x_line_t"] == 1
    assert sum(text.count("#pragma HLS") for text in headers.values()) > 80
    assert [(n, finding) for n, text in headers.items() for finding in lint(text, types)] == []
