"""How to call an exported file, in Python, JavaScript and Swift. The Python one runs in a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from export.exporting import Exported

_PYTHON = """import numpy as np
import onnxruntime
from PIL import Image

session = onnxruntime.InferenceSession("{file}")
photo = Image.open("photo.jpg").convert("RGB")
small = photo.resize(({size}, {size}), Image.Resampling.BILINEAR)
feed = {{"image": np.asarray(small, np.float32).transpose(2, 0, 1)[None]}}
{mask}result = session.run(None, feed)[0][0, 0]  # {size} x {size}, 0 to 1
mask = Image.fromarray((result.clip(0, 1) * 255).astype(np.uint8)).resize(photo.size, Image.Resampling.BILINEAR)
photo.putalpha(mask)
photo.save("cutout.png")
"""
_PYTHON_MASK = """coarse = Image.open("mask.png").convert("L").resize(({size}, {size}), Image.Resampling.BILINEAR)
feed["mask"] = np.asarray(coarse, np.float32)[None, None] / 255
"""
_JAVASCRIPT = """import * as ort from "onnxruntime-web";

const session = await ort.InferenceSession.create("{file}");

async function cut(photo) {{ // an ImageBitmap or a canvas
  const small = new OffscreenCanvas({size}, {size}).getContext("2d", {{ willReadFrequently: true }});
  small.imageSmoothingQuality = "high";
  small.drawImage(photo, 0, 0, {size}, {size});
  const rgba = small.getImageData(0, 0, {size}, {size}).data, area = {size} * {size};
  const rgb = new Float32Array(3 * area);
  for (let i = 0; i < area; i++) for (let c = 0; c < 3; c++) rgb[c * area + i] = rgba[4 * i + c];
  const feed = {{ image: new ort.Tensor("float32", rgb, [1, 3, {size}, {size}]) }};
{mask}  return (await session.run(feed)).result.data; // Float32Array of {size} x {size}, 0 to 1
}}
"""
_JAVASCRIPT_MASK = """  feed.mask = new ort.Tensor("float32", coarse, [1, 1, {size}, {size}]); // Float32Array in 0 to 1
"""
_SWIFT = """// Not compiled where this file was made.
import CoreML
import Vision

let model = try MLModel(contentsOf: MLModel.compileModel(at: URL(fileURLWithPath: "{file}")))
let constraint = model.modelDescription.inputDescriptionsByName["image"]!.imageConstraint!
let image = try MLFeatureValue(cgImage: photo, constraint: constraint,
                               options: [.cropAndScale: VNImageCropAndScaleOption.scaleFill.rawValue])
{mask}let result = try model.prediction(from: MLDictionaryFeatureProvider(dictionary: {inputs}))
let map = result.featureValue(for: "result")!.multiArrayValue!  // 1 x 1 x {size} x {size}, 0 to 1
"""
_SWIFT_MASK = """let mask = try MLMultiArray(shape: [1, 1, {size}, {size}], dataType: .float32)  // fill with 0 to 1
"""


def snippets(done: Exported) -> list[str]:
    """Markdown for the file's format."""
    file, size, masked = done.path.name, done.size, done.target.with_mask
    if done.format == "onnx":
        return [
            *_block("python", python(file, size, masked)),
            "",
            *_block(
                "js",
                _JAVASCRIPT.format(file=file, size=size, mask=_JAVASCRIPT_MASK.format(size=size) if masked else ""),
            ),
        ]
    inputs = '["image": image, "mask": MLFeatureValue(multiArray: mask)]' if masked else '["image": image]'
    swift = _SWIFT.format(file=file, size=size, inputs=inputs, mask=_SWIFT_MASK.format(size=size) if masked else "")
    return _block("swift", swift)


def python(file: str, size: int, masked: bool) -> str:
    """A script that cuts ``photo.jpg`` (for a sharpening model with ``mask.png``) into ``cutout.png``."""
    return _PYTHON.format(file=file, size=size, mask=_PYTHON_MASK.format(size=size) if masked else "")


def _block(language: str, text: str) -> list[str]:
    return [f"```{language}", text.rstrip(), "```"]
