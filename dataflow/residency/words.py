"""Amounts of the linear program as whole words: profiles of a plan.

Rounding down with one function keeps every order between amounts, and with it all that makes a plan
legal; a tensor that is whole stays whole.
"""

from __future__ import annotations

from collections.abc import Mapping

from dataflow.residency.flows import Amounts, Flows
from dataflow.residency.profile import Profile, Profiles
from dataflow.residency.schedule import Machine, Schedule, Tensor

_SLACK = 1e-4
"""Bytes that a solver's tolerance may take off a whole word."""


def padded(schedule: Schedule, machine: Machine) -> Schedule:
    """The schedule with sizes in whole words, as they lie in the scratchpad."""
    word = machine.word
    tensors = {
        name: Tensor(name, -(-t.bytes // word) * word, t.kind, t.output)
        for name, t in schedule.tensors.items()
    }
    return Schedule(schedule.name, tensors, schedule.steps)


def profiles_of(schedule: Schedule, machine: Machine, found: Flows) -> Profiles:
    """The profiles of an optimum of the padded schedule."""
    lives = schedule.lives()
    return {
        name: profile
        for name, amounts in found.amounts.items()
        if (profile := _profile(lives[name].tensor, machine.word, amounts)) is not None
    }


def _profile(tensor: Tensor, word: int, amounts: Mapping[int, Amounts]) -> Profile | None:
    def whole(amount: float) -> int:
        return min(int((amount + _SLACK) // word) * word, tensor.bytes)

    steps = sorted(amounts)
    held = [whole(amounts[u].held) for u in steps]
    dirty = [min(whole(amounts[u].dirty), h) for u, h in zip(steps, held, strict=True)]
    return trimmed(Profile(steps[0], tuple(held), tuple(dirty)))


def trimmed(profile: Profile) -> Profile | None:
    """Without the steps at either end in which nothing is held; None when nothing ever is."""
    full = [i for i, amount in enumerate(profile.held) if amount]
    if not full:
        return None
    low, high = full[0], full[-1] + 1
    return Profile(profile.first + low, profile.held[low:high], profile.dirty[low:high])
