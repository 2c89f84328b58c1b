"""The same model gives the same cascade, byte for byte, whatever the hash seed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.frontend.test_structure import region

SCRIPT = """
import sys
from dataflow.frontend import load_model
from dataflow.ir import text
sys.stdout.write(text.dumps(load_model(sys.argv[1])))
"""


def test_hash_seed_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(region().SerializeToString())
    texts = [
        subprocess.run(
            [sys.executable, "-c", SCRIPT, str(path)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert texts[0] == texts[1] and "expressions:" in texts[0]
