"""ONNX and CoreML models for phones."""
