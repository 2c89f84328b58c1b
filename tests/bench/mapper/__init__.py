"""Search times beside a peer's: ``python -m tests.bench.mapper``."""
