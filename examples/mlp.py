"""A multilayer perceptron for 28x28 images: 784-256-128-10."""

import numpy as np
import torch
from torch import nn


def make() -> tuple[nn.Module, tuple[torch.Tensor, ...]]:
    """The network, with seeded weights and in evaluation mode, and an example input."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Flatten(),
        nn.Linear(784, 256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.ReLU(),
        nn.Linear(128, 10),
    )
    for layer in module:
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)
            assert layer.bias is not None
            nn.init.normal_(layer.bias, std=0.1)
    return module.eval(), (torch.zeros(1, 1, 28, 28),)


def calibration(n: int = 16, seed: int = 0) -> dict[str, np.ndarray]:
    """``n`` random inputs."""
    rng = np.random.default_rng(seed)
    return {"input": rng.standard_normal((n, 1, 28, 28)).astype(np.float32)}
