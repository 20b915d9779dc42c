from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from server.errors import BadOption, Busy, TooLate, UnknownModel
from server.scale.options import ScaleOptions
from server.scale.remote import RemoteModels


def test_options_by_name() -> None:
    options = ScaleOptions.parse({"model": "grabcut", "gpus": "0.5", "max_replicas": "3"})
    assert (options.model, options.gpus, options.max_replicas) == ("grabcut", 0.5, 3)


@pytest.mark.parametrize(
    "given", [{"gpu": "1"}, {"gpus": "half"}, {"min_replicas": "4", "max_replicas": "2"}, {"max_replicas": "0"}]
)
def test_what_is_wrong_is_named(given: dict[str, str]) -> None:
    with pytest.raises(BadOption):
        ScaleOptions.parse(given)


class Handle:
    """A deployment handle whose answers are what the test listed: values, or errors to raise."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.predict = self.resolution = self.alive = self

    def remote(self, *arguments: Any) -> Handle:
        return self

    def result(self, timeout_s: float) -> Any:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer


class ActorDiedError(Exception):
    """Named as Ray's own."""


class BackPressureError(Exception):
    """Named as Ray's own."""


def test_a_lost_replica_is_replaced_by_another() -> None:
    models = RemoteModels(Handle(512, ActorDiedError(), ActorDiedError(), np.ones((2, 2))), deadline_s=20)
    segmenter = models.find("lite")
    assert segmenter.resolution == 512
    assert segmenter.predict(np.zeros((2, 2, 3), np.uint8)).sum() == 4


def test_failures_have_the_servers_words() -> None:
    image = np.zeros((2, 2, 3), np.uint8)
    for failure, expected in ((TimeoutError(), TooLate), (BackPressureError(), Busy), (KeyError("x"), KeyError)):
        with pytest.raises(expected):
            RemoteModels(Handle(512, failure), deadline_s=5).find("lite").predict(image)
    with pytest.raises(Busy, match="lost"):
        RemoteModels(Handle(512, *[ActorDiedError()] * 9), deadline_s=0.3).find("lite").predict(image)
    with pytest.raises(UnknownModel):
        RemoteModels(Handle(), deadline_s=5).find("nothing")
