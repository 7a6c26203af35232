"""INT8 products as this processor computes them; tests that serve 8 bits choose by it, as the pipeline does."""

from reprune.config.target import machine
from reprune.inference.onnx.quantize import needs_reduced_range

SATURATE = needs_reduced_range(machine().instruction_sets)
"""Whether full 8-bit weights are wrong here, so that the pipeline keeps to 7 bits."""


def exact(reduced):
    """Whether a file is computed as it says: weights of 7 bits are everywhere, of 8 bits where nothing saturates."""
    return reduced or not SATURATE
