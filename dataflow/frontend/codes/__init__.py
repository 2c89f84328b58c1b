"""Lowerings of quantised operators: nodes that compute on integer codes."""
