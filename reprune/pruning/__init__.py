"""Prune any ``torch.nn.Module``: find coupled channels on its graph, cut them, prove the result by running it."""
