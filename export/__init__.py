"""The networks as ONNX and CoreML models for phones: ``python -m export``. Importing needs neither torch nor coremltools."""
