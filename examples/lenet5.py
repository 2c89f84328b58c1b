"""LeNet-5 (LeCun et al., 1998) with ReLU and max pooling, for 28x28 images."""

import numpy as np
import torch
from torch import nn


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )
    for layer in module:
        if isinstance(layer, nn.Linear | nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.normal_(layer.bias, std=0.1)
    return module.eval(), (torch.zeros(1, 1, 28, 28),)


def calibration(n: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """``n`` random inputs."""
    rng = np.random.default_rng(seed)
    return {"input": rng.standard_normal((n, 1, 28, 28)).astype(np.float32)}
