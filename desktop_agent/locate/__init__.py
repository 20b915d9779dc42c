"""Finding where on the screen the phone is pointing."""

from desktop_agent.locate.localizer import Localizer
from desktop_agent.locate.location import Evidence, Location, Refusal
from desktop_agent.locate.markers import MarkerGrid, locate_by_markers
from desktop_agent.locate.tracker import Tracker

__all__ = ["Evidence", "Localizer", "Location", "MarkerGrid", "Refusal", "Tracker", "locate_by_markers"]
