"""A small stand-in for S3: one bucket in memory, the five requests that stored results need, no signatures checked."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

Start = Callable[[str, list[tuple[str, str]]], Any]


class Bucket:
    """A WSGI application at ``/NAME``; ``objects`` by key, ``requests`` as "METHOD key"."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []

    def __call__(self, environ: dict[str, Any], start: Start) -> Iterable[bytes]:
        method, query = environ["REQUEST_METHOD"], parse_qs(environ["QUERY_STRING"])
        bucket, _, key = environ["PATH_INFO"].lstrip("/").partition("/")
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        self.requests.append(f"{method} {key}")
        if bucket != self.name:
            return _answer(start, "404 Not Found", _error("NoSuchBucket"))
        if not key:
            return _answer(start, "200 OK", self._listing(query.get("prefix", [""])[0]) if method == "GET" else b"")
        if method == "PUT":
            self.objects[key] = body
            return _answer(start, "200 OK")
        if key not in self.objects:
            return _answer(start, "404 Not Found", b"" if method == "HEAD" else _error("NoSuchKey"))
        if method == "DELETE":
            del self.objects[key]
            return _answer(start, "204 No Content")
        if method == "HEAD":  # a body would be read as the next answer
            return _answer(start, "200 OK", kind="binary/octet-stream", length=len(self.objects[key]))
        return _answer(start, "200 OK", self.objects[key], "binary/octet-stream")

    def _listing(self, prefix: str) -> bytes:
        """ListObjectsV2 of everything below a prefix: no folders, no pages."""
        entries = "".join(
            f"<Contents><Key>{escape(key)}</Key><Size>{len(data)}</Size><StorageClass>STANDARD</StorageClass>"
            f'<ETag>"0"</ETag><LastModified>2030-01-01T00:00:00.000Z</LastModified></Contents>'
            for key, data in sorted(self.objects.items())
            if key.startswith(prefix)
        )
        return (
            '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
            f"<Name>{self.name}</Name><IsTruncated>false</IsTruncated>{entries}</ListBucketResult>"
        ).encode()


def _error(code: str) -> bytes:
    return f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>{code}</Message></Error>'.encode()


def _answer(
    start: Start, status: str, body: bytes = b"", kind: str = "application/xml", length: int | None = None
) -> list[bytes]:
    size = [] if status.startswith("204") else [("Content-Length", str(len(body) if length is None else length))]
    start(status, [("Content-Type", kind), ("ETag", '"0"'), *size])
    return [body] if body else []
