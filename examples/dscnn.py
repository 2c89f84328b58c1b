"""DS-CNN for keyword spotting (MLPerf Tiny): depthwise separable convolutions on 49x10 MFCCs."""

import numpy as np
import torch
from torch import nn


def block(channels: int) -> list[nn.Module]:
    """A depthwise 3x3 and a pointwise convolution."""
    layers: list[nn.Module] = []
    for conv in (
        nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False),
        nn.Conv2d(channels, channels, 1, bias=False),
    ):
        layers += [conv, nn.BatchNorm2d(channels), nn.ReLU()]
    return layers


class DSCNN(nn.Module):
    """A 10x4 stem of stride 2 with 64 channels, four blocks, average pool, 12 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.ZeroPad2d((1, 1, 4, 5)),
            nn.Conv2d(1, 64, (10, 4), stride=2, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            *(layer for _ in range(4) for layer in block(64)),
        )
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Linear(64, 12)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.flatten(self.pool(self.features(x)), 1)
        return torch.softmax(self.classifier(x), dim=1)


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = DSCNN()
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.7, 1.3)
            nn.init.normal_(layer.bias, std=0.5)
            layer.momentum = None  # statistics are the mean over all batches
    module.train()
    with torch.no_grad():
        module(torch.from_numpy(calibration(64, seed=1)["x"]))
    return module.eval(), (torch.zeros(1, 1, 49, 10),)


def calibration(n: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """``n`` random inputs."""
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((n, 1, 49, 10)).astype(np.float32)}
