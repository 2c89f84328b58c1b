"""Mixture of experts (Shazeer et al., 2017), 2 of 8: every expert computed, or weights gathered."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class MoE(nn.Module):
    """Softmax router, top-2 experts renormalised, SiLU perceptrons, on ``[tokens, width]``."""

    def __init__(self, width: int, hidden: int, experts: int, gather: bool) -> None:
        super().__init__()
        self.gather = gather
        self.router = nn.Linear(width, experts, bias=False)
        self.up = nn.Parameter(torch.randn(experts, width, hidden) * width**-0.5)
        self.down = nn.Parameter(torch.randn(experts, hidden, width) * hidden**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        scores, chosen = torch.softmax(self.router(x), dim=-1).topk(2, dim=-1)
        scores = scores / scores.sum(dim=-1, keepdim=True)
        silu = nn.functional.silu
        if self.gather:
            hidden = silu(torch.einsum("td,tkdf->tkf", x, self.up[chosen]))
            y = torch.einsum("tkf,tkfd->tkd", hidden, self.down[chosen])
            return (y * scores[..., None]).sum(dim=1)
        weight = torch.zeros(x.shape[0], self.up.shape[0]).scatter(1, chosen, scores)
        hidden = silu(torch.einsum("td,edf->tef", x, self.up))
        return torch.einsum("tef,efd,te->td", hidden, self.down, weight)


def _make(gather: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return MoE(32, 64, 8, gather).eval(), (torch.randn(8, 32),)


@fork_rng()
def make_dense() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """All experts, weighted by scattered scores; seeded weights, and an example input."""
    return _make(gather=False)


@fork_rng()
def make_gather() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Only the chosen experts' weights are read; seeded weights, and an example input."""
    return _make(gather=True)
