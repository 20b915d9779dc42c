"""A simulated phone camera: views of a screenshot with known ground truth, from a seed."""

from mobile_client_stub.camera.camera import Shot, SimulatedCamera
from mobile_client_stub.camera.conditions import Conditions, Pose
from mobile_client_stub.camera.projection import Projection

__all__ = ["Conditions", "Pose", "Projection", "Shot", "SimulatedCamera"]
