"""The document that Writer takes from the clipboard: one frame beside the text, and the picture as it was."""

from __future__ import annotations

import io
import zipfile
from xml.etree import ElementTree

import pytest

from desktop_agent.paste.odf import EMBEDDED, OASIS, PICTURE, TEXT, Frame, clipboard_document

DRAW, SVG, STYLE, WORDS = (
    f"{{{OASIS}:{name}:1.0}}" for name in ("drawing", "svg-compatible", "style", "text")
)  # fmt: skip


@pytest.mark.parametrize(
    ("from_character", "anchor", "top"), [(False, "paragraph", -0.5), (True, "char", 0.5)], ids=["paragraph", "character"]
)  # fmt: skip
def test_one_frame_of_that_size_at_that_distance(from_character: bool, anchor: str, top: float) -> None:
    offered = clipboard_document(b"a picture", Frame(96, -48, 192, 24, from_character))
    assert next(iter(offered)) == EMBEDDED
    with zipfile.ZipFile(io.BytesIO(offered[EMBEDDED])) as package:
        assert package.infolist()[0].filename == "mimetype"
        assert package.read("mimetype").decode() == TEXT
        assert package.read(PICTURE) == b"a picture"
        content = ElementTree.fromstring(package.read("content.xml"))
        listed = package.read("META-INF/manifest.xml").decode()
    assert all(f'"{name}"' in listed for name in ("content.xml", PICTURE))
    (frame,) = content.iter(f"{DRAW}frame")
    inches = [float(frame.attrib[f"{SVG}{name}"].removesuffix("in")) for name in ("x", "y", "width", "height")]
    assert inches == [1.0, top, 2.0, 0.25]
    assert frame.attrib[f"{WORDS}anchor-type"] == anchor
    (style,) = content.iter(f"{STYLE}graphic-properties")
    assert style.attrib[f"{STYLE}wrap"] == "run-through"
