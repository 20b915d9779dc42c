"""PGSNet's predictor: GDNet's preprocessing, the finest map at the picture's size."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image

from server.networks.pgsnet import PGSNet
from server.predictors import open_predictor
from server.predictors.pgsnet import PGSNetPredictor
from tests.server.networks.base import one_thread
from tests.server.networks.formula import fill

__all__ = ["one_thread"]


def test_predicts_as_the_paper_describes() -> None:
    network = PGSNet()
    fill(network, 0.8)
    predictor = open_predictor("pgsnet", network, device="cpu")
    assert isinstance(predictor, PGSNetPredictor)
    assert predictor.size == (352, 352)
    predictor.size = (96, 96)
    image = np.random.default_rng(4).integers(0, 256, (70, 110, 3), np.uint8)

    small = np.asarray(Image.fromarray(image).resize((96, 96), Image.Resampling.BILINEAR)) / 255.0
    x = ((small - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1)[None]
    with torch.inference_mode():
        finest = torch.sigmoid(network.logits(torch.from_numpy(x.astype(np.float32)))[0])[0, 0]
    expected = np.asarray(Image.fromarray(finest.numpy()).resize((110, 70), Image.Resampling.BILINEAR))
    assert np.abs(predictor.predict(image) - expected).max() < 1e-4
