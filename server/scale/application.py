"""A Ray Serve application: fronts that speak the dialects, predictors that own the devices; each grows on its own.

serve run server.scale.application:application model=lite gpus=0.5 max_replicas=8
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from ray import serve
from ray.serve import Application

from server import registry
from server.engine import stages_of
from server.engine.engine import WARM_UP_SIZE
from server.scale.options import ScaleOptions
from server.scale.remote import RemoteModels
from server.segmenter import RGB, Mask, Segmenter, Tap

Request = tuple[str, RGB, Tap | None]


class Predictor:
    """Owns one device, or its share of one."""

    def __init__(self, options: ScaleOptions) -> None:
        self._device = options.device
        self.predict.set_max_batch_size(options.max_batch)
        self.predict.set_batch_wait_timeout_s(options.batch_wait_s)
        self._run(self._model(options.model), [(np.zeros((*WARM_UP_SIZE, 3), np.uint8), None)])

    @serve.batch(max_concurrent_batches=1)  # type: ignore[untyped-decorator]
    async def predict(self, requests: list[Request]) -> list[Mask]:
        """(model, picture, tap) of many clients; those of one model go through the network together."""
        masks: list[Any] = [None] * len(requests)
        for name in dict.fromkeys(name for name, _, _ in requests):
            places = [place for place, request in enumerate(requests) if request[0] == name]
            outputs = self._run(self._model(name), [requests[place][1:] for place in places])
            for place, mask in zip(places, outputs, strict=True):
                masks[place] = mask
        return masks

    async def resolution(self, name: str) -> int | None:
        """See ``server.segmenter.Segmenter``; loads the model, so that what is wrong with it is said at once."""
        return getattr(self._model(name), "resolution", None)

    async def alive(self) -> None:
        """Answers, that is all."""

    def _model(self, name: str) -> Segmenter:
        return registry.load(name, device=self._device)

    def _run(self, segmenter: Segmenter, pictures: Sequence[tuple[RGB, Tap | None]]) -> list[Mask]:
        stages = stages_of(segmenter)
        outputs = stages.infer([stages.prepare(image, tap) for image, tap in pictures])
        return [stages.finish(output, image) for output, (image, _) in zip(outputs, pictures, strict=True)]


class _ToReplica:
    """The ASGI application of whichever replica runs this."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":  # nothing to start or to stop
            for event in ("startup", "shutdown"):
                await receive()
                await send({"type": f"lifespan.{event}.complete"})
            return
        await serve.get_replica_context().servable_object.application(scope, receive, send)


@serve.ingress(_ToReplica())
class Front:
    """Every dialect of ``server.app``; decodes, selects, composes and encodes on its own CPU."""

    def __init__(self, predictor: Any, options: ScaleOptions) -> None:
        from a2wsgi import WSGIMiddleware

        from server.app import Settings, create_app
        from server.cutout import cut

        models = RemoteModels(predictor, options.deadline_s)
        settings = Settings(
            model=options.model,
            cut=lambda image, model, **given: cut(image, models.find(model), **given),
            ready=models.ready,
        )
        app: Any = create_app(settings)
        self.application = WSGIMiddleware(app, workers=options.threads)


def application(given: dict[str, Any]) -> Application:
    """The builder that ``serve run`` calls; ``ScaleOptions`` has the names. Raises ``BadOption``."""
    options = ScaleOptions.parse(given)
    predictor = serve.deployment(
        Predictor,
        autoscaling_config={
            "min_replicas": options.min_replicas,
            "max_replicas": options.max_replicas,
            "target_ongoing_requests": options.target_ongoing,
        },
        ray_actor_options={"num_gpus": options.gpus, "num_cpus": options.cpus},
        max_ongoing_requests=4 * options.max_batch,
        max_queued_requests=256,
        health_check_period_s=2,
        health_check_timeout_s=30,
    )
    front = serve.deployment(
        Front,
        num_replicas=options.fronts,
        ray_actor_options={"num_cpus": options.cpus},
        max_ongoing_requests=2 * options.threads,
    )
    return front.bind(predictor.bind(options), options)
