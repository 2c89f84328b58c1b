"""Reductions that depend on each other along one rank, computed in one traversal of it.

`search` finds groups of such reductions, `group` expresses them in terms of each other, `algebra`
decomposes the expressions, `state` derives what must be carried, `loop` and `tree` write it out.
"""
