"""The answer to "where on the screen is the phone pointing?", and every reason for not answering."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from desktop_agent.geometry import Homography, Point


class Refusal(StrEnum):
    """Why a view was not located; the values are what leaves the process."""

    TOO_FEW_FEATURES = "too_few_features"
    NO_CONSISTENT_PLANE = "no_consistent_plane"
    MIRRORED = "mirrored"
    OFF_SCREEN = "off_screen"
    AMBIGUOUS = "ambiguous"
    UNSTABLE = "unstable"
    UNREADABLE_IMAGE = "unreadable_image"


MESSAGES = {
    Refusal.TOO_FEW_FEATURES: (
        "There is too little to recognise in this view. Move back so that more of the screen is visible, "
        "or point at a place with text or pictures."
    ),
    Refusal.NO_CONSISTENT_PLANE: (
        "This view does not match what is on the screen. Point at the computer's screen, tilt the phone less and hold it still."
    ),
    Refusal.MIRRORED: "This view is a mirror image of the screen. Use the rear camera and point at the screen itself.",
    Refusal.OFF_SCREEN: "The middle of this view lies beside the screen. Move the phone until the reticle is on the screen.",
    Refusal.AMBIGUOUS: "This view fits several places on the screen. Move back so that its surroundings are visible too.",
    Refusal.UNSTABLE: "This view is not clear enough to be sure. Come closer, tilt the phone less and hold it still.",
    Refusal.UNREADABLE_IMAGE: "This is not a picture that can be read. Send a JPEG, PNG or WebP photograph.",
}


@dataclass(frozen=True, eq=False)
class Evidence:
    """What a hypothesis rests on, for ``explain`` and for tuning.

    ``view_xy`` and ``screen_xy`` are tracked points (Nx2 pixels), ``inlier`` says which of them fit; ``correlation`` is the mean
    local ZNCC where the screenshot has texture, ``explained`` the same where the view has, ``texture`` the part of the view that
    the screenshot's texture fills, ``sigma`` the predicted standard deviation of the point in screen pixels.
    """

    view_xy: NDArray[np.float64]
    screen_xy: NDArray[np.float64]
    inlier: NDArray[np.bool_]
    correlation: float
    explained: float
    texture: float
    sigma: float

    @property
    def inliers(self) -> int:
        return int(self.inlier.sum())


@dataclass(frozen=True, eq=False)
class Location:
    """``homography`` maps view pixels to pixels of monitor ``monitor`` (mss's index); ``point`` lies under the view's centre.

    ``scale`` is screen pixels per view pixel and ``rotation`` degrees clockwise on the screen, both at ``point``; ``confidence`` is
    in [0, 1]; ``message`` is for the person. A refused view has a ``reason`` and neither point nor homography.
    """

    status: Literal["located", "refused"]
    monitor: int | None = None
    homography: Homography | None = None
    point: Point | None = None
    scale: float | None = None
    rotation: float | None = None
    confidence: float = 0.0
    reason: Refusal | None = None
    message: str = ""
    stage: str = ""
    elapsed_ms: float = 0.0
    evidence: Evidence | None = field(default=None, repr=False)

    @classmethod
    def at(
        cls,
        homography: Homography,
        view_size: tuple[int, int],
        *,
        monitor: int,
        confidence: float,
        stage: str,
        elapsed_ms: float = 0.0,
        evidence: Evidence | None = None,
    ) -> Location:
        """Located: everything that follows from the homography at the view's centre."""
        center = Point(view_size[0] / 2, view_size[1] / 2)
        return cls(
            "located",
            monitor=monitor,
            homography=homography,
            point=homography.apply_point(center),
            scale=homography.scale_at(center),
            rotation=homography.rotation_at(center),
            confidence=confidence,
            message="The phone points at the screen.",
            stage=stage,
            elapsed_ms=elapsed_ms,
            evidence=evidence,
        )

    @classmethod
    def refused(cls, reason: Refusal, *, stage: str = "", elapsed_ms: float = 0.0, confidence: float = 0.0) -> Location:
        return cls(
            "refused",
            reason=reason,
            message=MESSAGES[reason],
            stage=stage,
            elapsed_ms=elapsed_ms,
            confidence=confidence,
        )
