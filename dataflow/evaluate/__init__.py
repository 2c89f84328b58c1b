"""The reference evaluator: what a Cascade means, in NumPy."""

from dataflow.evaluate.run import evaluate, run_einsum, run_machine_part

__all__ = ["evaluate", "run_einsum", "run_machine_part"]
