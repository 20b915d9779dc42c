"""A picture as a text document of one frame, in the form that LibreOffice puts on the clipboard for itself (OpenDocument 1.3).

Its frame lies at a distance from the paragraph or the character that has the caret, before the text and without moving it.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

EMBEDDED = 'application/x-openoffice-embed-source-xml;windows_formatname="Star Embed Source (XML)"'
DESCRIPTOR = (  # of a text document, by LibreOffice's class id for those
    'application/x-openoffice-objectdescriptor-xml;windows_formatname="Star Object Descriptor (XML)";'
    'classname="8BC6B165-B1B2-4EDD-aa47-dae2ee689dd6";typename="Text Document";displayname="";'
    'viewaspect="1";width="10000";height="10000";posx="0";posy="0"'
)
TEXT = "application/vnd.oasis.opendocument.text"
PICTURE = "Pictures/cut-out.png"
OASIS = "urn:oasis:names:tc:opendocument:xmlns"
NAMESPACES = " ".join(
    f'xmlns:{name}="{address}"'
    for name, address in (
        ("office", f"{OASIS}:office:1.0"),
        ("draw", f"{OASIS}:drawing:1.0"),
        ("text", f"{OASIS}:text:1.0"),
        ("style", f"{OASIS}:style:1.0"),
        ("svg", f"{OASIS}:svg-compatible:1.0"),
        ("fo", f"{OASIS}:xsl-fo-compatible:1.0"),
        ("xlink", "http://www.w3.org/1999/xlink"),
    )
)


@dataclass(frozen=True)
class Frame:
    """1/96 inch; from the left and the top of the caret's paragraph, or of its character."""

    left: float
    top: float
    width: float
    height: float
    from_character: bool = False


def clipboard_document(png: bytes, frame: Frame) -> dict[str, bytes]:
    """What a clipboard offers for the framed picture, the document first."""
    package = io.BytesIO()
    with zipfile.ZipFile(package, "w") as parts:
        parts.writestr("mimetype", TEXT)
        parts.writestr("content.xml", _content(frame))
        parts.writestr(PICTURE, png)
        parts.writestr("META-INF/manifest.xml", _manifest())
    return {EMBEDDED: package.getvalue(), DESCRIPTOR: b""}


def _content(frame: Frame) -> str:
    # without a style to inherit from it is a shape, which has no grey border on the screen; a shape at a character of a
    # paragraph's second page would be drawn on its first one, though, and from a character LibreOffice counts upwards
    anchor, top, inherited = "paragraph", frame.top, ""
    if frame.from_character:
        anchor, top, inherited = "char", -frame.top, ' style:parent-style-name="Graphics"'
    place = "".join(
        f' svg:{name}="{value / 96:.5f}in"'
        for name, value in (("x", frame.left), ("y", top), ("width", frame.width), ("height", frame.height))
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><office:document-content {NAMESPACES} office:version="1.3">'
        f'<office:automatic-styles><style:style style:name="free" style:family="graphic"{inherited}>'
        "<style:graphic-properties "
        'style:wrap="run-through" style:run-through="foreground" style:vertical-pos="from-top" '
        f'style:vertical-rel="{anchor}" style:horizontal-pos="from-left" style:horizontal-rel="{anchor}" '
        'fo:border="none" fo:padding="0in"/></style:style></office:automatic-styles><office:body><office:text><text:p>'
        f'<draw:frame draw:style-name="free" draw:name="Cut-out" text:anchor-type="{anchor}"{place}>'
        f'<draw:image xlink:href="{PICTURE}" xlink:type="simple" xlink:show="embed" xlink:actuate="onLoad"/>'
        "</draw:frame></text:p></office:text></office:body></office:document-content>"
    )


def _manifest() -> str:
    entries = "".join(
        f'<manifest:file-entry manifest:full-path="{path}" manifest:media-type="{kind}"/>'
        for path, kind in (("/", TEXT), ("content.xml", "text/xml"), (PICTURE, "image/png"))
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><manifest:manifest xmlns:manifest="{OASIS}:manifest:1.0" '
        f'manifest:version="1.3">{entries}</manifest:manifest>'
    )
