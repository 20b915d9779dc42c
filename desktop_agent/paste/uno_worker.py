"""Run by a Python that has LibreOffice's ``uno`` module (it needs nothing of ours): puts a picture onto a page of Draw or Impress.

    python3 -I uno_worker.py "socket,host=localhost,port=2002;urp"

One JSON object a line comes in and goes out: ``{"open": TITLE OF THE WINDOW}``, answered by what is visible of its page (``area``:
left, top, width, height in 1/100 mm), ``{"insert": PICTURE FILE, "place": PLACE}``, ``{"place": PLACE}`` and ``{"remove": true}``.
A place is six numbers, the affine map from the unit square to 1/100 mm of the page, row by row. An ``error`` has a ``code``.
"""

from __future__ import annotations

import json
import sys
from typing import Any


class Refused(Exception):
    """``args``: a code and a sentence."""


class Office:
    def __init__(self, address: str) -> None:
        import uno

        local = uno.getComponentContext()
        resolver = local.ServiceManager.createInstanceWithContext("com.sun.star.bridge.UnoUrlResolver", local)
        self._context = resolver.resolve(f"uno:{address};StarOffice.ComponentContext")
        self._view: Any = None
        self._shape: Any = None

    def open(self, title: str) -> list[int]:
        frames = self._create("com.sun.star.frame.Desktop").Frames
        found = [frame for frame in map(frames.getByIndex, range(frames.Count)) if frame.Title == title]
        if len(found) != 1:
            raise Refused("no_document", f"LibreOffice has {len(found)} windows called {title!r}: aim again and tap.")
        self._view = found[0].Controller
        if self._view.Model.isReadonly():
            raise Refused("not_taken", f"{title!r} is read-only. Point at a document that can be changed.")
        area = self._view.VisibleArea
        return [area.X, area.Y, area.Width, area.Height]

    def insert(self, picture: str, place: list[float]) -> None:
        """The menu's command, because what is added to a page directly is no step that can be undone."""
        import uno
        from com.sun.star.beans import PropertyValue

        where = PropertyValue()
        where.Name, where.Value = "FileName", uno.systemPathToFileUrl(picture)
        self._view.select(None)
        dispatcher = self._create("com.sun.star.frame.DispatchHelper")
        dispatcher.executeDispatch(self._view.Frame, ".uno:InsertGraphic", "", 0, (where,))
        inserted = self._view.Selection
        if inserted is None or inserted.Count != 1:
            raise Refused("not_taken", "LibreOffice did not insert the picture; a dialog may be open in it.")
        self._shape = inserted.getByIndex(0)
        self.place(place)

    def place(self, place: list[float]) -> None:
        from com.sun.star.drawing import HomogenMatrix3, HomogenMatrixLine3

        lines = (HomogenMatrixLine3(*place[:3]), HomogenMatrixLine3(*place[3:]), HomogenMatrixLine3(0, 0, 1))
        self._shape.Transformation = HomogenMatrix3(*lines)

    def remove(self) -> None:
        self._view.Model.UndoManager.undo()

    def _create(self, service: str) -> Any:
        return self._context.ServiceManager.createInstanceWithContext(service, self._context)


def answer(office: Office, request: dict[str, Any]) -> dict[str, Any]:
    try:
        if "open" in request:
            return {"area": office.open(request["open"])}
        if "insert" in request:
            office.insert(request["insert"], request["place"])
        elif "place" in request:
            office.place(request["place"])
        else:
            office.remove()
    except Refused as refusal:
        return {"code": refusal.args[0], "error": refusal.args[1]}
    except Exception as error:  # whatever the office throws through its bridge
        return {"code": "not_taken", "error": f"LibreOffice refused: {type(error).__name__} {error}"[:300]}
    return {}


def main() -> None:
    office = Office(sys.argv[1])
    print("{}", flush=True)
    for line in sys.stdin:
        print(json.dumps(answer(office, json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
