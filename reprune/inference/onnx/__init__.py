"""Export models to ONNX, quantize them and compare both with torch."""
