"""RWKV-like time mixing (Peng et al., 2023): token shift, stabilised recurrence as a scan."""

import torch
from torch import Tensor, nn
from torch._higher_order_ops.scan import scan
from torch.random import fork_rng


class TimeMixing(nn.Module):
    """A weighted average of values with exponential decay, in the form that cannot overflow."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Parameter(torch.rand(3, width))
        self.decay, self.bonus = (nn.Parameter(torch.randn(width)) for _ in range(2))
        self.r, self.k, self.v, self.out = (nn.Linear(width, width, bias=False) for _ in range(4))

    def step(
        self, state: tuple[Tensor, Tensor, Tensor], x: tuple[Tensor, Tensor]
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Tensor]:
        """State: numerator and denominator, both divided by exp(top), and top."""
        (a, b, top), (k, v) = state, x
        now = torch.maximum(top, k + self.bonus)
        old, new = torch.exp(top - now), torch.exp(k + self.bonus - now)
        y = (old * a + new * v) / (old * b + new)
        decayed = top - torch.exp(self.decay)
        top = torch.maximum(decayed, k)
        old, new = torch.exp(decayed - top), torch.exp(k - top)
        return (old * a + new * v, old * b + new, top), y

    def forward(self, x: Tensor) -> Tensor:
        before = nn.functional.pad(x, (0, 0, 1, -1))
        r, k, v = (
            p(x * m + before * (1 - m)).movedim(1, 0)
            for p, m in zip((self.r, self.k, self.v), self.mix, strict=True)
        )
        zero = torch.zeros(x.shape[0], x.shape[2])
        _, y = scan(self.step, (zero, zero.clone(), zero - 1e38), (k, v))
        out: Tensor = self.out((torch.sigmoid(r) * y).movedim(0, 1))
        return out


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A layer of width 24 on 12 tokens, with seeded weights, and an example input."""
    torch.manual_seed(0)
    return TimeMixing(24).eval(), (torch.randn(1, 12, 24),)
