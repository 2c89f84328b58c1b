"""One-stage detector (after YOLO and FPN): SiLU backbone, feature pyramid, two decoded heads."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def conv(c_in: int, c_out: int, k: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, SiLU."""
    layer = nn.Conv2d(c_in, c_out, k, stride, k // 2, bias=False)
    return nn.Sequential(layer, nn.BatchNorm2d(c_out), nn.SiLU())


class Detector(nn.Module):
    """Image ``[1, 3, 64, 64]`` to boxes and class scores ``[1, 80, 4 + 5]`` at two strides."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv(3, 8, 3, 2), conv(8, 16, 3, 2))
        self.low, self.high = conv(16, 24, 3, 2), conv(24, 32, 3, 2)
        self.lateral, self.merge = conv(32, 24, 1), conv(48, 24, 3)
        self.head_low, self.head_high = nn.Conv2d(24, 9, 1), nn.Conv2d(32, 9, 1)

    @staticmethod
    def decode(raw: Tensor, stride: float) -> Tensor:
        """Centre and size in pixels, then class probabilities, one row per cell."""
        size = raw.shape[-1]
        line = torch.arange(size).float()
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"))
        centre = (torch.sigmoid(raw[:, :2]) + grid) * stride
        extent = torch.exp(raw[:, 2:4].clamp(-4, 4)) * stride
        return torch.cat((centre, extent, torch.sigmoid(raw[:, 4:])), dim=1).flatten(2)

    def forward(self, x: Tensor) -> Tensor:
        low = self.low(self.stem(x))
        high = self.high(low)
        up = nn.functional.interpolate(self.lateral(high), scale_factor=2.0, mode="nearest")
        low = self.merge(torch.cat((low, up), dim=1))
        rows = (self.decode(self.head_low(low), 8.0), self.decode(self.head_high(high), 16.0))
        return torch.cat(rows, dim=2).transpose(1, 2)


@fork_rng()
def make() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example image."""
    torch.manual_seed(0)
    module = Detector()
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
    return module.eval(), (torch.randn(1, 3, 64, 64),)
