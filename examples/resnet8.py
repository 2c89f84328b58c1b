"""ResNet-8 for CIFAR-10, the image classification network of MLPerf Tiny."""

import numpy as np
import torch
from torch import nn


class Block(nn.Module):
    """Two 3x3 convolutions and a shortcut."""

    def __init__(self, c_in: int, c_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(c_in, c_out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(c_out)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(c_out)
        same = stride == 1 and c_in == c_out
        self.shortcut = nn.Identity() if same else nn.Conv2d(c_in, c_out, 1, stride)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


class ResNet8(nn.Module):
    """A 16-channel stem, three blocks of 16, 32 and 64 channels, average pool, classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()
        )
        self.blocks = nn.Sequential(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2))
        self.pool = nn.AvgPool2d(8)
        self.classifier = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.pool(self.blocks(self.stem(x)))
        return torch.softmax(self.classifier(torch.flatten(x, 1)), dim=1)


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = ResNet8()
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
    return module.eval(), (torch.zeros(1, 3, 32, 32),)


def calibration(n: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """``n`` random inputs."""
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((n, 3, 32, 32)).astype(np.float32)}
