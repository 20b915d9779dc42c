"""Terms that several networks' losses share. Maps are (N, 1, H, W), targets float in [0, 1] of the same shape."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

SSIM_WINDOW = 11
SSIM_SIGMA = 1.5
SSIM_C1 = 0.01**2
SSIM_C2 = 0.03**2


def total(terms: dict[str, Tensor]) -> Tensor:
    """The sum of all terms: the scalar to minimise."""
    return torch.stack(list(terms.values())).sum()


def binary_cross_entropy(probability: Tensor, target: Tensor) -> Tensor:
    """Mean BCE of probabilities, in float32 also under autocast (which has no safe half-precision form)."""
    with torch.autocast(probability.device.type, enabled=False):
        return F.binary_cross_entropy(probability.float(), target.float())


def iou_loss(probability: Tensor, target: Tensor) -> Tensor:
    """Mean over the batch of 1 - sum(pg) / sum(p + g - pg) (BASNet eq. 7, PGSNet eq. 7). No smoothing term.

    Two all-zero maps count as a loss of 1, the limit for an empty target.
    """
    p, g = probability.float().flatten(1), target.float().flatten(1)
    intersection = (p * g).sum(1)
    union = (p.sum(1) + g.sum(1) - intersection).clamp(min=torch.finfo(torch.float32).tiny)
    return (1 - intersection / union).mean()


def _gaussian_window(device: torch.device) -> Tensor:
    offsets = torch.arange(SSIM_WINDOW, dtype=torch.float32, device=device) - SSIM_WINDOW // 2
    profile = torch.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    profile = profile / profile.sum()
    return (profile[:, None] * profile[None, :])[None, None]


def ssim_loss(probability: Tensor, target: Tensor) -> Tensor:
    """1 - mean SSIM: 11x11 Gaussian window of sigma 1.5, zero padding, C1 = 0.01^2, C2 = 0.03^2 (BASNet eq. 6)."""
    with torch.autocast(probability.device.type, enabled=False):
        x, y = probability.float(), target.float()
        window = _gaussian_window(x.device)

        def local_mean(image: Tensor) -> Tensor:
            return F.conv2d(image, window, padding=SSIM_WINDOW // 2)

        mean_x, mean_y = local_mean(x), local_mean(y)
        variance_x = local_mean(x * x) - mean_x**2
        variance_y = local_mean(y * y) - mean_y**2
        covariance = local_mean(x * y) - mean_x * mean_y
        ssim = ((2 * mean_x * mean_y + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
            (mean_x**2 + mean_y**2 + SSIM_C1) * (variance_x + variance_y + SSIM_C2)
        )
    return 1 - ssim.mean()
