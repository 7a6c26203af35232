"""Small models in plain torch, one file a family. Each entry is a builder of ``(model, example_inputs)``."""

from tests.reprune.pruning.zoo import adversarial, convolutional, handmade, rearranged, recurrent, transformers

ZOO = {**convolutional.MODELS, **transformers.MODELS, **recurrent.MODELS, **adversarial.MODELS}

MORE = {**rearranged.MODELS, **handmade.MODELS}
"""Small modules written to confuse a pruner; some of them have nothing that can be cut."""
