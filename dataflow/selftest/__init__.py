"""The self-test of a simulated machine: micro-networks that make its rare cases happen.

"0 mismatches" on one network says little about the hardware: a network may never round a tie,
forward a register or wrap a ring. Each simulator that is built runs these networks once, without
and with stalls, before a network of the user's is believed on it.
"""

from dataflow.selftest.run import SelfTest, findings, self_test

__all__ = ["SelfTest", "findings", "self_test"]
