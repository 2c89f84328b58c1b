"""Graph networks: message passing over an edge list (gather, scatter) and attention on edges."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng

NODES, EDGES = 24, 72


class Sage(nn.Module):
    """GraphSAGE (Hamilton et al., 2017): the mean of the neighbours beside the node itself."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.own, self.other = nn.Linear(c_in, c_out), nn.Linear(c_in, c_out, bias=False)

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        total = torch.zeros(NODES, x.shape[1]).index_add(0, target, x[source])
        degree = torch.zeros(NODES).index_add(0, target, torch.ones(EDGES)).clamp(min=1)
        y: Tensor = self.own(x) + self.other(total / degree[:, None])
        return y


class EdgeAttention(nn.Module):
    """GATv2 (Brody et al., 2022): softmax over the edges that enter a node."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.left, self.right = nn.Linear(c_in, c_out), nn.Linear(c_in, c_out)
        self.score = nn.Linear(c_out, 1, bias=False)

    def forward(self, x: Tensor, source: Tensor, target: Tensor) -> Tensor:
        sent = self.left(x)[source]
        logit = self.score(nn.functional.leaky_relu(sent + self.right(x)[target], 0.2))[:, 0]
        top = torch.full((NODES,), -1e9).scatter_reduce(0, target, logit, "amax")
        weight = torch.exp(logit - top[target])
        norm = torch.zeros(NODES).scatter_add(0, target, weight)
        share = (weight / norm[target])[:, None]
        return torch.zeros(NODES, sent.shape[1]).index_add(0, target, share * sent)


class GNN(nn.Module):
    """Two layers; ``x`` is ``[NODES, 16]``, ``edges`` ``[2, EDGES]`` of int64 node numbers."""

    def __init__(self, first: nn.Module, second: nn.Module) -> None:
        super().__init__()
        self.first, self.second = first, second

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        source, target = edges[0], edges[1]
        y: Tensor = self.second(torch.relu(self.first(x, source, target)), source, target)
        return y


def _inputs() -> tuple[Tensor, ...]:
    return torch.randn(NODES, 16), torch.randint(0, NODES, (2, EDGES))


@fork_rng()
def make_sage() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two GraphSAGE layers; seeded weights, and an example graph."""
    torch.manual_seed(0)
    return GNN(Sage(16, 32), Sage(32, 8)).eval(), _inputs()


@fork_rng()
def make_attention() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Two edge-attention layers; seeded weights, and an example graph."""
    torch.manual_seed(0)
    return GNN(EdgeAttention(16, 32), EdgeAttention(32, 8)).eval(), _inputs()
