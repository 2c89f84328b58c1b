"""One search of AccelForge 1.0.467, run by a Python that has it (3.12); not imported by ours.

Reads a JSON list of jobs ``{"machine", "workload", "data", "objective"}`` from standard input:
names of its own example files and the values of their templates. Prints for each a JSON object
``{"cpu_s", "energy", "latency"}`` in the units of the file: the mapping that it found best, as its
own model counts it (what its search says of fused groups may be less). CPU seconds are those of one
thread for building and joining partial mappings, after a small search: without import and
compilation.
"""

from __future__ import annotations

import json
import sys
import time
from importlib import import_module
from math import prod
from pathlib import Path
from typing import Any

KEYS = ("energy", "latency")


def run(job: dict[str, Any]) -> dict[str, float]:
    """The best of one objective."""
    metrics = import_module("accelforge.mapper").Metrics
    wanted = {
        "energy": metrics.ENERGY,
        "latency": metrics.LATENCY,
        "edp": metrics.ENERGY | metrics.LATENCY,
    }[job["objective"]]
    folder = Path(import_module("accelforge.examples").EXAMPLES_DIR)
    spec = import_module("accelforge").Spec.from_yaml(
        folder / "arches" / f"{job['machine']}.yaml",
        folder / "workloads" / f"{job['workload']}.yaml",
        jinja_parse_data=job["data"],
    )
    spec.mapper.metrics = wanted
    search = import_module("accelforge.mapper.FFM.main").map_workload_to_arch
    start = time.process_time()
    found = search(spec, print_progress=False, eval_in_detail=False)
    cpu = time.process_time() - start
    rows = found.data
    columns = [rows[f"Total<SEP>{name}"].tolist() for name in KEYS if f"Total<SEP>{name}" in rows]
    values = [prod(row) for row in zip(*columns, strict=True)]
    spec.model.metrics = spec.mapper.info_metrics
    spec.mapping = rows.iloc[values.index(min(values))]["Total<SEP>mapping"](_for_model=True)
    totals = (
        import_module("accelforge.model")
        .evaluate_mapping(
            spec, flattened_arches=found.flattened_arches, evaluated_specs=found.evaluated_specs
        )
        .data
    )
    named = {name: float(totals[f"Total<SEP>{name}"].iloc[0]) for name in KEYS}
    return {"cpu_s": cpu, **named}


def main() -> None:
    """All jobs, a line each."""
    import_module("accelforge.util.parallel").set_n_parallel_jobs(1)
    for job in json.load(sys.stdin):
        small = {"N_EINSUMS": 1, "M": 16, "KN": 16} | {
            k: v for k, v in job["data"].items() if k not in ("N_EINSUMS", "M", "KN")
        }
        run({**job, "workload": "matmuls", "data": small})
        print(json.dumps(run(job)), flush=True)


if __name__ == "__main__":
    main()
