"""``--server basnet+http://HOST:PORT``: masks from a running basnet-http (https://github.com/cyrildiagne/basnet-http).

It knows one thing, a picture in and a mask out; objects are chosen, cut and coloured here, as with the embedded model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import requests

from desktop_agent.errors import SegmentationFailed
from desktop_agent.segmentation import ANSWER_SECONDS, CONNECT_SECONDS, EmbeddedSegmentation, RemoteSegmentation

if TYPE_CHECKING:
    from server.segmenter import RGB, Mask, Segmenter, Tap

SCHEME = "basnet+"
SIDE = 1024
"""It scales larger pictures down to this itself."""


def open_server(url: str, key: str | None) -> RemoteSegmentation | BasnetHttpSegmentation:
    """The segmentation server at an address that the person gave."""
    if url.startswith(SCHEME):
        return BasnetHttpSegmentation(url.removeprefix(SCHEME))
    return RemoteSegmentation(url, key)


class BasnetHttpSegmentation(EmbeddedSegmentation):
    """See ``desktop_agent.segmentation.Segmentation``; a ``model`` that is asked for is not known there and ignored."""

    def __init__(self, url: str) -> None:
        self.name = url.rstrip("/")
        self._masks = BasnetHttpMasks(self.name)

    def segmenter(self, model: str | None) -> Segmenter:
        return self._masks

    def close(self) -> None:
        self._masks.close()


class BasnetHttpMasks:
    """See ``server.segmenter.Segmenter``."""

    name = "basnet-http"

    def __init__(self, url: str) -> None:
        self._url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        """Raises ``SegmentationFailed``."""
        import cv2
        import numpy as np

        from server.errors import ServerError
        from server.images import decode, encode_jpeg

        height, width = image.shape[:2]
        factor = min(1.0, SIDE / max(height, width))
        size = max(1, round(width * factor)), max(1, round(height * factor))
        small = cv2.resize(image, size, interpolation=cv2.INTER_AREA) if factor < 1 else image
        try:
            answer: Any = self._session.post(
                f"{self._url}/",
                files={"data": ("photo.jpg", encode_jpeg(np.asarray(small), 95))},
                timeout=(CONNECT_SECONDS, ANSWER_SECONDS),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise SegmentationFailed(
                f"The computer cannot reach basnet-http at {self._url}: check that it runs.", code="server_unreachable"
            ) from error
        if answer.status_code == 422:  # this project's server in the same dialect: it saw nothing
            return np.zeros((height, width), np.float32)
        try:
            if answer.status_code != 200:
                raise ValueError(answer.status_code)
            grey = decode(answer.content)[..., 0]
        except (ValueError, ServerError) as error:
            raise SegmentationFailed(
                f"{self._url} answered {answer.status_code}, but not with a mask: check the address.",
                code="server_foreign",
            ) from error
        mask = cv2.resize(grey, (width, height), interpolation=cv2.INTER_LINEAR)
        return np.asarray(mask / np.float32(255), np.float32)

    def close(self) -> None:
        self._session.close()
