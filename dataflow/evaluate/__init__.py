"""The reference evaluator: what a Cascade means, in NumPy."""

from dataflow.evaluate.run import (
    after_machine,
    before_machine,
    evaluate,
    run_einsum,
    run_machine_part,
)

__all__ = ["after_machine", "before_machine", "evaluate", "run_einsum", "run_machine_part"]
