"""The HLS project: layers and their tilings as C++."""

from dataflow.emit.hls.write import emit_hls

__all__ = ["emit_hls"]
