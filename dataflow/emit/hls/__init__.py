"""The HLS project: layers and their tilings as C++."""

from dataflow.emit.hls.part import DEFAULT_PART, check_part
from dataflow.emit.hls.write import emit_hls

__all__ = ["DEFAULT_PART", "check_part", "emit_hls"]
