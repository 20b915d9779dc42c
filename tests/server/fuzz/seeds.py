"""Makes the seed corpus beside this file: ``python -m tests.server.fuzz.seeds``. What once broke something is kept there too."""

from __future__ import annotations

import base64
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms

FOLDER = Path(__file__).parent
BOUNDARY = "x9"


def picture(width: int = 20, height: int = 14) -> Image.Image:
    ys, xs = np.mgrid[:height, :width]
    pixels = np.dstack([xs * 12 % 256, ys * 18 % 256, (xs + ys) * 7 % 256]).astype(np.uint8)
    pixels[4:9, 5:12] = (220, 30, 40)
    return Image.fromarray(pixels)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    sink = io.BytesIO()
    image.save(sink, kind, **options)
    return sink.getvalue()


def images() -> dict[str, bytes]:
    rgb = picture()
    rgba = rgb.copy()
    rgba.putalpha(128)
    turned = Image.Exif()
    turned[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile[:24] + bytes(12) + profile[36:]  # the time of its making
    frames = {"save_all": True, "append_images": [rgb.rotate(180)], "duration": 20}
    bomb = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + bomb + struct.pack(">I", zlib.crc32(b"IHDR" + bomb))
    return {
        "rgb.jpg": saved(rgb, "JPEG"),
        "grey.jpg": saved(rgb.convert("L"), "JPEG"),
        "cmyk.jpg": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive.jpg": saved(rgb, "JPEG", progressive=True, subsampling=2),
        "restarts.jpg": saved(rgb, "JPEG", restart_marker_blocks=1),
        "turned.jpg": saved(rgb, "JPEG", exif=turned, comment=b"hello"),
        "profile.jpg": saved(rgb, "JPEG", icc_profile=profile),
        "rgb.png": saved(rgb, "PNG"),
        "rgba.png": saved(rgba, "PNG"),
        "palette.png": saved(rgb.quantize(16), "PNG", transparency=3),
        "grey16.png": saved(Image.fromarray(np.arange(280, dtype=np.uint16).reshape(14, 20) * 200), "PNG"),
        "bits.png": saved(rgb.convert("1"), "PNG"),
        "turned.png": saved(rgb, "PNG", exif=turned),
        "animated.png": saved(rgb, "PNG", **frames),
        "bomb.png": b"\x89PNG\r\n\x1a\n" + chunk,
        "lossy.webp": saved(rgb, "WEBP"),
        "lossless.webp": saved(rgba, "WEBP", lossless=True),
        "animated.webp": saved(rgb, "WEBP", **frames),
        "turned.webp": saved(rgb, "WEBP", exif=turned),
        "refused.gif": saved(rgb, "GIF"),
        "refused.bmp": saved(rgb, "BMP"),
        "header.heic": b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic",
    }


def multipart(fields: dict[str, str], files: dict[str, bytes]) -> bytes:
    parts = [f'Content-Disposition: form-data; name="{n}"\r\n\r\n{v}\r\n'.encode() for n, v in fields.items()]
    for name, data in files.items():
        head = f'Content-Disposition: form-data; name="{name}"; filename="a.png"\r\nContent-Type: image/png\r\n\r\n'
        parts.append(head.encode() + data + b"\r\n")
    return b"".join(f"--{BOUNDARY}\r\n".encode() + part for part in parts) + f"--{BOUNDARY}--\r\n".encode()


def bodies() -> dict[str, bytes]:
    """First line: method, path, content type; then the body as sent."""
    png = saved(picture(), "PNG")
    packed = base64.b64encode(png).decode()
    form = f"multipart/form-data; boundary={BOUNDARY}"
    plain = "application/x-www-form-urlencoded"
    options = {"size": "auto", "format": "png", "roi": "0% 0% 100% 100%", "crop": "true", "crop_margin": "10px 5%"}
    more = {"scale": "80%", "position": "20% 30%", "bg_color": "81d4fa80", "channels": "rgba", "type": "car"}
    made = {
        "ours": (f"/v1/cut {form}", multipart({"tap": "8.5,6", "crop": "true", "output": "mask"}, {"image": png})),
        "removebg": (f"/v1.0/removebg {form}", multipart({**options, **more}, {"image_file": png})),
        "removebg-background": (f"/v1.0/removebg {form}", multipart({}, {"image_file": png, "bg_image_file": png})),
        "removebg-json": (
            "/v1.0/removebg application/json",
            json.dumps({"image_file_b64": packed, "crop": True, **more}).encode(),
        ),
        "removebg-plain": (f"/v1.0/removebg {plain}", f"image_file_b64={packed.replace('+', '%2B')}&size=hd".encode()),
        "removebg-url": (f"/v1.0/removebg {plain}", b"image_url=http%3A%2F%2F127.0.0.1%2Fa.jpg"),
        "rembg": (
            f"/api/remove {form}",
            multipart({"a": "true", "af": "240", "om": "true", "bgc": "1,2,3,4"}, {"file": png}),
        ),
        "rembg-query": (f"/api/remove?bgc=1,2,3,4&ppm=1&ae=3 {form}", multipart({}, {"file": png})),
        "objectcut": (
            f"/remove {plain}",
            f"image_base64={packed.replace('+', '%2B')}&output_format=base64&to_remove=foreground".encode(),
        ),
        "objectcut-multipart": (f"/remove {form}", multipart({"image_base64": packed, "color_removal": "white"}, {})),
        "nested-json": ("/v1.0/removebg application/json", b"[" * 50_000),
        "a-part-without-name": (
            f"/v1/cut {form}",
            multipart({"tap": "1,1"}, {"image": png}).replace(b' name="image";', b""),
        ),
        "basnet": (f"/ {form}", multipart({}, {"data": png})),
    }
    return {name: f"POST {line}\n".encode() + body for name, (line, body) in made.items()}


if __name__ == "__main__":
    for folder, made in (("images", images()), ("bodies", bodies())):
        for name, data in made.items():
            (FOLDER / folder / name).write_bytes(data)
