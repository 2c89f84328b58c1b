"""Array passes of a tile; see ``dataflow.mapper.lowering.passes``, which the mapper uses too."""

from dataflow.mapper.lowering.passes import Feed, Pass, feed, fir_stride, flat_passes, passes, steps

__all__ = ["Feed", "Pass", "feed", "fir_stride", "flat_passes", "passes", "steps"]
