"""Products of three operands: Tucker fusion of two inputs (Ben-younes, 2017), factored scores."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


class Trilinear(nn.Module):
    """``x`` ``[batch, 12]`` and ``y`` ``[batch, 10]`` through a core tensor, then by factors."""

    def __init__(self) -> None:
        super().__init__()
        self.core = nn.Parameter(torch.randn(12, 10, 16) / 120**0.5)
        self.u, self.v = (nn.Parameter(torch.randn(n, 8) / n**0.5) for n in (16, 6))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        z = torch.tanh(torch.einsum("bi,bj,ijk->bk", x, y, self.core))
        return torch.einsum("bk,kr,nr->bn", z, self.u, self.v)


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights, and a batch of 4."""
    torch.manual_seed(0)
    return Trilinear().eval(), (torch.randn(4, 12), torch.randn(4, 10))
