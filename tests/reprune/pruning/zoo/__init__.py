"""Small models in plain torch, one file a family. Each entry is a builder of ``(model, example_inputs)``."""

from tests.reprune.pruning.zoo import adversarial, convolutional, recurrent, transformers

ZOO = {**convolutional.MODELS, **transformers.MODELS, **recurrent.MODELS, **adversarial.MODELS}
