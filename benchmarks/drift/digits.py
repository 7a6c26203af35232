"""Train a digits classifier and write its outputs to ``digits.npz``."""

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.drift.streams import HERE


def network():
    """Return a small convolutional network as its body and its last layer."""
    body = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(256, 32), nn.ReLU()
    )
    return body, nn.Linear(32, 10)


def trained(images, labels):
    """Return the network trained on half of the digits."""
    torch.manual_seed(0)
    body, head = network()
    optimizer = torch.optim.AdamW([*body.parameters(), *head.parameters()], 3e-3)
    half = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: len(images) // 2]
    for _ in range(20):
        for batch in half[torch.randperm(len(half))].split(64):
            optimizer.zero_grad()
            F.cross_entropy(head(body(images[batch])), labels[batch]).backward()
            optimizer.step()
    return body.eval(), head.eval()


@torch.no_grad()
def outputs(body, head, images):
    """Return the logged outputs: embedding, predicted class and confidence."""
    embedding = body(images)
    shares = head(embedding).softmax(dim=1)
    return {
        "embedding": embedding.numpy().astype(np.float64),
        "predicted_class": shares.argmax(dim=1).numpy().astype(float),
        "confidence": shares.amax(dim=1).numpy().astype(np.float64),
    }


if __name__ == "__main__":
    found = load_digits()
    images, labels = torch.tensor(found.images, dtype=torch.float32)[:, None] / 16, torch.tensor(found.target)
    body, head = trained(images, labels)
    np.savez(HERE / "digits.npz", label=labels.numpy(), **outputs(body, head, images))
    save_file(nn.Sequential(body, head).state_dict(), HERE / "digits.safetensors")
