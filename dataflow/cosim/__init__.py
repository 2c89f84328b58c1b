"""Builds and runs emitted projects and compares them with the reference."""
