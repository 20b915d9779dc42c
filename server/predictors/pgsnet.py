"""PGSNet's predictor: squash to 352, ImageNet mean and deviation (GDNet's convention, which the paper follows)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from server.predictors.base import SquashPredictor, normalise
from server.segmenter import RGB


class PGSNetPredictor(SquashPredictor):
    """The finest map p1; the paper's figures binarise it at 0.5 and use no CRF."""

    size = (352, 352)

    def prepare(self, image: RGB) -> NDArray[np.float32]:
        small = Image.fromarray(image).resize(self.size[::-1], Image.Resampling.BILINEAR)
        return normalise(np.asarray(small, np.float32) / np.float32(255))

    def probability(self, outputs: Any) -> Tensor:
        finest: Tensor = outputs[0][:, 0]
        return finest
