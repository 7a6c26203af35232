"""ONNX: export, and parity with the model that was exported."""
