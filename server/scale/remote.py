"""The models from the front's side: a ``Segmenter`` whose work is done by whichever replica is free."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from server import registry
from server.errors import Busy, ServerError, TooLate
from server.segmenter import RGB, Mask, Tap

RETRY_PAUSE_SECONDS = 0.2
LOST = (
    "RayActorError",
    "ActorDiedError",
    "ActorUnavailableError",
    "WorkerCrashedError",
    "ReplicaUnavailableError",
    "OwnerDiedError",
)
"""Ray's words for a replica that is no more; a prediction has no side effects, so another replica does it again."""


class RemoteModels:
    """``predictor`` is the handle of ``server.scale.application.Predictor``."""

    def __init__(self, predictor: Any, deadline_s: float) -> None:
        self._predictor, self._deadline_s = predictor, deadline_s
        self._known: dict[str, int | None] = {}

    def find(self, name: str) -> RemoteSegmenter:
        """Raises ``UnknownModel``, or what loading the model raised there."""
        registry.find(name)
        if name not in self._known:
            self._known[name] = self.call(lambda: self._predictor.resolution.remote(name))
        return RemoteSegmenter(name, self._known[name], self)

    def predict(self, name: str, image: RGB, tap: Tap | None) -> Mask:
        mask: Mask = self.call(lambda: self._predictor.predict.remote((name, image, tap)))
        return mask

    def ready(self) -> None:
        """Raises where no replica answers."""
        self.call(lambda: self._predictor.alive.remote())

    def call(self, send: Callable[[], Any]) -> Any:
        """The answer, from another replica where one died. Raises ``Busy``, ``TooLate`` or the replica's own error."""
        end = time.monotonic() + self._deadline_s
        while True:
            try:
                return send().result(timeout_s=max(0.0, end - time.monotonic()))
            except ServerError:
                raise
            except TimeoutError as error:
                raise TooLate("No replica answered in time: try again later.", retry_after=5) from error
            except Exception as error:
                kinds = {kind.__name__ for kind in type(error).__mro__}
                cause = getattr(error, "cause", None)
                if isinstance(cause, ServerError):
                    raise cause from None
                if "BackPressureError" in kinds:
                    raise Busy("Too many pictures are waiting: try again in a moment.", retry_after=2) from error
                if kinds.isdisjoint(LOST):
                    raise
                if time.monotonic() > end:
                    raise Busy("A replica was lost: try again in a moment.", retry_after=5) from error
            time.sleep(RETRY_PAUSE_SECONDS)


class RemoteSegmenter:
    """See ``server.segmenter.Segmenter``."""

    def __init__(self, name: str, resolution: int | None, models: RemoteModels) -> None:
        self.name, self.resolution = name, resolution
        self._models = models

    def predict(self, image: RGB, tap: Tap | None = None) -> Mask:
        return self._models.predict(self.name, image, tap)
