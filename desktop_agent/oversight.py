"""What the person at the computer sees of pastes, and the question that comes first where they want to be asked."""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from desktop_agent.devices import LOCAL_DEVICE, write_private

ANSWER_SECONDS = 45.0
"""Less than a phone waits for its answer."""
LOOKING_SECONDS = 4.0
"""Longer than the computer's own window takes from one look to the next."""
KEPT_PASTES = 5


@dataclass(frozen=True)
class Question:
    """May ``device`` paste ``clip`` into ``application``?"""

    id: str
    device: str
    clip: str
    application: str


@dataclass(frozen=True)
class Done:
    """A paste that happened: by which device, into what, at which time (seconds since 1970)."""

    device: str
    application: str
    time: float


class Oversight:
    """The setting 'ask before each paste' (kept in ``path``), the open questions and the last pastes. Thread-safe.

    ``fetch`` is called where nobody looks at the questions: it brings the computer's own window up.
    """

    def __init__(self, path: Path, answer_seconds: float = ANSWER_SECONDS) -> None:
        self._path, self._answer_seconds = path, answer_seconds
        self._changed = threading.Condition()
        self._questions: dict[str, Question] = {}
        self._answers: dict[str, bool] = {}
        self._done: deque[Done] = deque(maxlen=KEPT_PASTES)
        self._looked = float("-inf")
        self._closed = False
        self._asks = _read(path)
        self.fetch: Callable[[], None] = lambda: None

    @property
    def asks(self) -> bool:
        """Whether each paste of a phone waits for a yes at the computer."""
        return self._asks

    @asks.setter
    def asks(self, wanted: bool) -> None:
        self._asks = wanted
        write_private(self._path, json.dumps({"ask_first": wanted}).encode())

    def allows(self, device: str, clip: str, application: str) -> bool:
        """Ask, if that is wanted, and wait for the answer; silence is a no. This computer's own commands are not asked."""
        if not self._asks or device == LOCAL_DEVICE:
            return True
        question = Question(secrets.token_urlsafe(9), device, clip, application)
        with self._changed:
            self._questions[question.id] = question
            unseen = time.monotonic() - self._looked > LOOKING_SECONDS
        try:
            if unseen:
                self.fetch()
            with self._changed:
                self._changed.wait_for(lambda: question.id in self._answers or self._closed, self._answer_seconds)
        finally:
            with self._changed:
                del self._questions[question.id]
                answer = self._answers.pop(question.id, False)
        return answer

    def answer(self, question_id: str, yes: bool) -> None:
        """The person's answer; one that comes too late changes nothing."""
        with self._changed:
            if question_id in self._questions:
                self._answers[question_id] = yes
                self._changed.notify_all()

    def waits(self, device: str) -> bool:
        """Whether a paste of this device waits for its answer."""
        with self._changed:
            return any(question.device == device for question in self._questions.values())

    def question(self, question_id: str) -> Question | None:
        with self._changed:
            return self._questions.get(question_id)

    def pasted(self, device: str, application: str) -> None:
        """Remember a paste for the window."""
        self._done.appendleft(Done(device, application, time.time()))

    def public(self) -> dict[str, Any]:
        """What the window shows; to ask for it is to look."""
        with self._changed:
            self._looked = time.monotonic()
            questions = list(self._questions.values())
        return {
            "ask_first": self._asks,
            "questions": [asdict(q) for q in questions],
            "pastes": [asdict(d) for d in self._done],
        }

    def close(self) -> None:
        """Open questions are answered with no."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()


def _read(path: Path) -> bool:
    try:
        return json.loads(path.read_text()).get("ask_first") is True
    except (OSError, ValueError, AttributeError):
        return False
