"""U-Net (Ronneberger et al., 2015) for 32x32 images; transposed convolution or resize upwards."""

import torch
from torch import Tensor, nn
from torch.random import fork_rng


def double(c_in: int, c_out: int) -> nn.Module:
    """Two 3x3 convolutions with batch normalisation and ReLU."""
    layers: list[nn.Module] = []
    for a in (c_in, c_out):
        layers += [nn.Conv2d(a, c_out, 3, padding=1), nn.BatchNorm2d(c_out), nn.ReLU()]
    return nn.Sequential(*layers)


def up(c_in: int, c_out: int, resize: bool) -> nn.Module:
    """Doubles height and width."""
    if resize:
        smooth = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        return nn.Sequential(smooth, nn.Conv2d(c_in, c_out, 1))
    return nn.ConvTranspose2d(c_in, c_out, 2, stride=2)


class UNet(nn.Module):
    """Three levels of 8, 16 and 32 channels; each skip joins by concatenation."""

    def __init__(self, resize: bool) -> None:
        super().__init__()
        self.down1, self.down2, self.bottom = double(3, 8), double(8, 16), double(16, 32)
        self.up2, self.up1 = up(32, 16, resize), up(16, 8, resize)
        self.join2, self.join1 = double(32, 16), double(16, 8)
        self.head = nn.Conv2d(8, 2, 1)

    def forward(self, x: Tensor) -> Tensor:
        a = self.down1(x)
        b = self.down2(nn.functional.max_pool2d(a, 2))
        c = self.bottom(nn.functional.max_pool2d(b, 2))
        b = self.join2(torch.cat((self.up2(c), b), dim=1))
        y: Tensor = self.head(self.join1(torch.cat((self.up1(b), a), dim=1)))
        return y


def _make(resize: bool) -> tuple[nn.Module, tuple[Tensor, ...]]:
    torch.manual_seed(0)
    module = UNet(resize)
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.running_mean, std=0.2)  # type: ignore[arg-type]
            nn.init.uniform_(layer.running_var, 0.8, 1.5)  # type: ignore[arg-type]
    return module.eval(), (torch.randn(1, 3, 32, 32),)


@fork_rng()
def make_transposed() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Upwards by transposed convolution; seeded weights, and an example input."""
    return _make(resize=False)


@fork_rng()
def make_resize() -> tuple[nn.Module, tuple[Tensor, ...]]:
    """Upwards by bilinear resize and a 1x1 convolution; seeded weights, and an example input."""
    return _make(resize=True)
