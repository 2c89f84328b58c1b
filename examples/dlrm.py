"""Recommendation (DLRM, Naumov et al., 2019): embedding bags, pairwise interaction, perceptrons."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.random import fork_rng

TABLES, ROWS, BAG = 4, 50, 3


def perceptron(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU."""
    layers: list[nn.Module] = []
    for a, b in pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers)


class DLRM(nn.Module):
    """``dense`` is ``[batch, 13]``; ``bags`` ``[batch, TABLES, BAG]`` of int64 rows."""

    pairs: Tensor

    def __init__(self, bags: bool, width: int = 16) -> None:
        super().__init__()
        self.bottom = perceptron(13, 32, width)
        self.tables: nn.ModuleList = nn.ModuleList(
            nn.EmbeddingBag(ROWS, width, mode="sum") if bags else nn.Embedding(ROWS, width)
            for _ in range(TABLES)
        )
        pairs = (TABLES + 1) * TABLES // 2
        self.top = nn.Sequential(*perceptron(width + pairs, 32), nn.Linear(32, 1))
        rows, columns = torch.tril_indices(TABLES + 1, TABLES + 1, offset=-1)
        self.register_buffer("pairs", rows * (TABLES + 1) + columns)

    def forward(self, dense: Tensor, bags: Tensor) -> Tensor:
        x = self.bottom(dense)
        rows = [table(bags[:, k]) for k, table in enumerate(self.tables)]
        looked_up = [row if row.ndim == 2 else row.sum(dim=1) for row in rows]
        features = torch.stack([x, *looked_up], dim=1)
        products = torch.bmm(features, features.transpose(1, 2)).flatten(1)
        return torch.sigmoid(self.top(torch.cat((x, products[:, self.pairs]), dim=1)))


def _make(bags: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    return DLRM(bags).eval(), (torch.randn(2, 13), torch.randint(0, ROWS, (2, TABLES, BAG)))


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Bags as a gather and a sum; seeded weights, and two example requests."""
    return _make(bags=False)


@fork_rng()
def make_bag() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Bags as torch's EmbeddingBag, which exports as loops; two example requests."""
    return _make(bags=True)
