"""The one way in which onnxruntime is asked: one thread, the most exact integer products."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnxruntime

CPU = ["CPUExecutionProvider"]


def open_session(
    model: bytes | str, *, optimise: bool = False, log_level: int = 4
) -> onnxruntime.InferenceSession:
    """A session of a serialised model or of the file at a path.

    One thread and no graph optimisation unless asked for, so that sums have one order. On x86
    processors without VNNI, onnxruntime's products of uint8 by int8 saturate their partial sums in
    16 bits; its option `session.x64quantprecision` avoids that, but for constant int8 operands and
    with graph optimisation only.

    Args:
        log_level: least severity that is printed, 0 (all) to 4 (fatal only).

    Raises:
        Exception: of onnxruntime's own classes, which share no base, when it refuses the model.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = log_level
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
    options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(model, options, CPU)
