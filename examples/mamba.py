"""Mamba block (Gu and Dao, 2023): selective state space, as a scan and unrolled."""

from functools import partial

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.random import fork_rng


def step(h: Tensor, x: tuple[Tensor, Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """One step of the recurrence: state ``[batch, inner, states]`` and its reading."""
    decay, drive, read = x
    h = decay * h + drive
    return h, (h * read[:, None, :]).sum(-1)


class Mamba(nn.Module):
    """Gated selective scan over ``[batch, tokens, width]``."""

    def __init__(self, width: int, states: int, unrolled: bool) -> None:
        super().__init__()
        inner = 2 * width
        self.states, self.rank, self.unrolled = states, max(width // 8, 1), unrolled
        self.inward = nn.Linear(width, 2 * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, 4, padding=3, groups=inner)
        self.select = nn.Linear(inner, self.rank + 2 * states, bias=False)
        self.time = nn.Linear(self.rank, inner)
        self.log_a = nn.Parameter(torch.arange(1, states + 1).float().log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.out = nn.Linear(inner, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, tokens, _ = x.shape
        u, gate = self.inward(x).chunk(2, dim=-1)
        u = nn.functional.silu(self.conv(u.transpose(1, 2))[..., :tokens].transpose(1, 2))
        dt, b, c = self.select(u).split([self.rank, self.states, self.states], dim=-1)
        dt = nn.functional.softplus(self.time(dt))
        decay = torch.exp(-dt[..., None] * torch.exp(self.log_a))
        drive = (dt * u)[..., None] * b[:, :, None, :]
        h = torch.zeros(batch, u.shape[-1], self.states)
        if self.unrolled:
            rows = []
            for t in range(tokens):
                h, y = step(h, (decay[:, t], drive[:, t], c[:, t]))
                rows.append(y)
            y = torch.stack(rows, dim=1)
        else:
            over = partial(torch.movedim, source=1, destination=0)
            _, y = scan(step, h, (over(decay), over(drive), over(c)))
            y = y.movedim(0, 1)
        out: Tensor = self.out((y + u * self.skip) * nn.functional.silu(gate))
        return out


@fork_rng()
def make_scan() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The recurrence as torch's scan: one ONNX Scan; seeded weights, and an example input."""
    torch.manual_seed(0)
    return Mamba(16, 8, unrolled=False).eval(), (torch.randn(1, 12, 16),)


@fork_rng()
def make_unrolled() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The recurrence written out for 12 tokens; seeded weights, and an example input."""
    torch.manual_seed(0)
    return Mamba(16, 8, unrolled=True).eval(), (torch.randn(1, 12, 16),)
