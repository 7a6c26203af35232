"""How often known shifts are found, at an equal rate of false alarms for every detector.

    python docs/benchmarks/drift/digits.py
    python docs/benchmarks/drift/power.py --windows 100

Every detector's score is set against the 5 % quantile of its own scores on windows without drift, so that all alarm
equally often where nothing moved. What is done is kept in power.json, so the script can be stopped and run again.
"""

import argparse
import json

import detectors
import numpy as np
import torch
import torch.nn.functional as F
from digits import answers, network
from safetensors.torch import load_file
from sklearn.datasets import load_digits
from streams import HERE, REFERENCE, Digits, tabular
from torch import nn

SIZE = 300
DETECTORS = ("reprune", "bonferroni", "psi", "wasserstein")
TABULAR = {
    "mean (sd)": ("mean", (0.2, 0.3, 0.4)),
    "spread (factor)": ("spread", (1.2, 1.35, 1.5)),
    "correlation (from 0.6)": ("correlation", (0.45, 0.3, 0.1)),
    "category balance (share)": ("balance", (0.04, 0.07, 0.1)),
}
IMAGES = {
    "image noise (share of images)": ("noise", (0.02, 0.05, 0.1)),
    "rotation (share of images)": ("rotation", (0.1, 0.2, 0.4)),
    "brightness (share of images)": ("brightness", (0.1, 0.2, 0.4)),
    "label balance (share)": ("labels", (0.08, 0.14, 0.2)),
}


class Pictures:
    """The digits and the network that answers them."""

    def __init__(self):
        self.images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
        self.known = Digits()
        self._parts = network()
        nn.Sequential(*self._parts).load_state_dict(load_file(HERE / "digits.safetensors"))

    def columns(self, images):
        """Return pixels, embedding and answers as columns."""
        told = answers(*self._parts, images)
        pixels = {f"input[{i}]": column for i, column in enumerate(images.flatten(1).numpy().astype(np.float64).T)}
        embedding = {f"embedding[{i}]": column for i, column in enumerate(told.pop("embedding").T)}
        return pixels | embedding | told

    def window(self, rng, kind, amount):
        """Return reference and window of images; the window is changed."""
        labels, order = self.known.arrays["label"], rng.permutation(len(self.images))
        chosen, rest = order[:REFERENCE], order[REFERENCE:]
        if kind == "labels":
            threes = rng.random(SIZE) < amount
            rest = np.where(threes, rng.choice(rest[labels[rest] == 3], SIZE), rest[:SIZE])
        images = self.images[rest[:SIZE]]
        if kind in CHANGES:  # a camera among several
            images[: round(amount * SIZE)] = rounded(CHANGES[kind](images[: round(amount * SIZE)], rng))
        return self.columns(self.images[chosen]), self.columns(images)


def noisy(images, rng):
    """Return images with noise of an eighth of the greys."""
    return images + 0.12 * torch.from_numpy(rng.normal(size=images.shape)).float()


def turned(images, rng):
    """Return images turned by 10 degrees."""
    angle = torch.deg2rad(torch.tensor(10.0))
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    grid = F.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def darker(images, rng):
    """Return images with an eighth less light."""
    return images * 0.88


def rounded(images):
    """Return images in whole grey levels, so that no new value gives them away."""
    return (images.clamp(0, 1) * 16).round() / 16


CHANGES = {"noise": noisy, "rotation": turned, "brightness": darker}


def main():
    """Judge the windows that are not in the file yet."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--windows", type=int, default=100)
    arguments = parser.parse_args()
    path = HERE / "power.json"
    found = json.loads(path.read_text()) if path.exists() else {}
    torch.set_num_threads(1)
    pictures = Pictures()
    cells = [("tabular", "none", 0.0)]
    cells += [("tabular", kind, amount) for kind, amounts in TABULAR.values() for amount in amounts]
    cells += [("images", "none", 0.0)]
    cells += [("images", kind, amount) for kind, amounts in IMAGES.values() for amount in amounts]
    for done in range(25, arguments.windows + 1, 25):
        for stream, kind, amount in cells:
            wanted = 4 * done if kind == "none" else done
            scores = found.setdefault(f"{stream} {kind} {amount:g}", {name: [] for name in DETECTORS})
            for seed in range(len(scores["reprune"]), wanted):
                rng = np.random.default_rng([seed, *f"{stream} {kind} {amount}".encode()])
                if stream == "images":
                    pair = pictures.window(rng, kind, amount)
                else:
                    pair = tabular(rng, REFERENCE), tabular(rng, SIZE, **({} if kind == "none" else {kind: amount}))
                for name in DETECTORS:
                    scores[name].append(round(float(getattr(detectors, name)(*pair, seed)), 6))
            path.write_text(json.dumps(found))
    report(found)


def report(found, rate=0.05):
    """Print the share of windows found, a row for each shift."""
    print(f"{'shift':32}", *(f"{name:>12}" for name in DETECTORS))
    for stream, shifts in (("tabular", TABULAR), ("images", IMAGES)):
        null = found[f"{stream} none 0"]
        for title, (kind, amounts) in shifts.items():
            for amount in amounts:
                scores = found[f"{stream} {kind} {amount:g}"]
                shares = [share_found(null[name], scores[name], rate, name) for name in DETECTORS]
                print(f"{title + f' {amount:g}':32}", *(f"{share:12.0%}" for share in shares))


def share_found(null, scores, rate, name):
    """Return how many scores are more extreme than all but ``rate`` of those without drift."""
    sign = -1 if name in ("reprune", "bonferroni") else 1
    return float(np.mean(sign * np.array(scores) > np.quantile(sign * np.array(null), 1 - rate)))


if __name__ == "__main__":
    main()
