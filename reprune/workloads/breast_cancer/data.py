"""The biopsies in three splits, standardized by the mean and spread of the train split."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

SEED = 0
TEST, VALIDATION = 228, 57


def load(split: str) -> Dataset[tuple[Tensor, ...]]:
    """Return one split; there is no production data, which ``KeyError`` says."""
    measurements, labels = load_breast_cancer(return_X_y=True)
    rest, test = train_test_split(range(len(labels)), test_size=TEST, random_state=SEED, stratify=labels)
    train, validation = train_test_split(rest, test_size=VALIDATION, random_state=SEED, stratify=labels[rest])
    chosen = {"train": train, "validation": validation, "test": test}[split]
    mean, spread = measurements[train].mean(axis=0), measurements[train].std(axis=0)
    standardized = torch.tensor((measurements[chosen] - mean) / spread, dtype=torch.float32)
    return TensorDataset(standardized, torch.tensor(labels[chosen]))
