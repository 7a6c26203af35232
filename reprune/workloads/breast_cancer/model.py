"""A multilayer perceptron for 30 measurements."""

from torch import nn

FEATURES = 30
HIDDEN = 512


def build() -> nn.Module:
    """Return the network: ``[N, 30]`` standardized measurements to ``[N, 2]`` logits (0 malignant, 1 benign)."""
    return nn.Sequential(
        nn.Linear(FEATURES, HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Linear(HIDDEN, 2),
    )
