"""ONNX files and graphs: reading, old operator sets, unrolling, functions, export."""
