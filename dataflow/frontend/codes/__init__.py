"""Lowerings to integer Einsums: operators on codes, and float operators between them.

A QLinear operator, or a Conv, MatMul, pool or function between DequantizeLinear and
QuantizeLinear, becomes Einsums over codes here. Modules of the same names in
``dataflow.frontend.operators`` lower the same operators in general form, on any element type;
the importer tries those second.
"""
