"""The whole networks of the benchmark, by name."""

from __future__ import annotations

SPECS = {
    "bert": "examples/bert.py:make_base",
    "gpt2": "examples/gpt2.py:small",
    "resnet50": "tests/bench/networks.py:resnet50",
    "mobilenet_v2": "tests/bench/networks.py:mobilenet_v2",
}
"""What ``dataflow export`` makes of each network, from the root of the project."""
