"""Run models as they are served: ONNX files, latency and the champion."""
