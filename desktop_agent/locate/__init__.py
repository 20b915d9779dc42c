"""Finding where on the screen the phone is pointing."""

from desktop_agent.locate.localizer import Localizer
from desktop_agent.locate.location import Evidence, Location, Refusal

__all__ = ["Evidence", "Localizer", "Location", "Refusal"]
