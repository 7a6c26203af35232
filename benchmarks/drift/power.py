"""Measure how often detectors find known shifts at one false-alarm rate.

    python -m benchmarks.drift.digits
    python -m benchmarks.drift.power

Each detector alarms beyond the 5 % quantile of its own scores on windows without drift, so all have the same rate of
false alarms. All see the same windows, so McNemar's test compares reprune with the best of the others. Results are
appended to ``power-tabular.jsonl`` and ``power-images.jsonl``, so an interrupted run resumes. ``SERIES`` makes the
windows differ from those on which reprune's tests were chosen.
"""

import argparse

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from scipy import stats
from sklearn.datasets import load_digits
from torch import nn

from benchmarks.drift import detectors
from benchmarks.drift.digits import network, outputs
from benchmarks.drift.streams import HERE, REFERENCE, Digits, tabular
from benchmarks.records import Record, Records

SIZE = 300
SERIES = 2029
STEP = 50
NULL, FAST_NULL = {"tabular": 800, "images": 300}, {"tabular": 4000, "images": 1200}
"""Numbers of windows without drift: for reprune, and for the others, which are faster."""

CLOSE = {"tabular": 500, "images": 300}
"""Number of windows for shifts that several detectors find about equally often; other shifts have ``STEP``."""

DETECTORS = ("reprune", "bonferroni", "psi", "wasserstein")
TABULAR = {
    "mean (sd)": ("mean", (0.2, 0.3, 0.4)),
    "spread (factor)": ("spread", (1.2, 1.35, 1.5)),
    "correlation (from 0.6)": ("correlation", (0.45, 0.3, 0.1)),
    "category balance (share)": ("balance", (0.04, 0.07, 0.1)),
    "mean of a column alone (factor)": ("income", (1.13, 1.2, 1.27)),
    "range of a column (factor)": ("day", (0.95, 0.9)),
}
IMAGES = {
    "image noise (share of images)": ("noise", (0.02, 0.05, 0.1)),
    "rotation (share of images)": ("rotation", (0.1, 0.2, 0.4)),
    "brightness (share of images)": ("brightness", (0.1, 0.2, 0.4)),
    "label balance (share)": ("labels", (0.08, 0.14, 0.2)),
    "blur (share of images)": ("blur", (0.05, 0.1)),
}
EASY = {"spread", "correlation", "rotation", "blur"}
EASY_AMOUNTS = {
    ("brightness", 0.4),
    ("mean", 0.4),
    ("noise", 0.05),
    ("noise", 0.1),
    ("labels", 0.2),
    ("day", 0.9),
}


class Pictures:
    """The digits and the network that classifies them."""

    def __init__(self):
        self.images = torch.tensor(load_digits().images, dtype=torch.float32)[:, None] / 16
        self.known = Digits()
        self._parts = network()
        nn.Sequential(*self._parts).load_state_dict(load_file(HERE / "digits.safetensors"))

    def columns(self, images):
        """Return pixels, embedding and predictions as columns."""
        logged = outputs(*self._parts, images)
        pixels = {f"input[{i}]": column for i, column in enumerate(images.flatten(1).numpy().astype(np.float64).T)}
        embedding = {f"embedding[{i}]": column for i, column in enumerate(logged.pop("embedding").T)}
        return pixels | embedding | logged

    def window(self, rng, kind, amount):
        """Return a reference, and a window with the shift."""
        labels, order = self.known.arrays["label"], rng.permutation(len(self.images))
        chosen, rest = order[:REFERENCE], order[REFERENCE:]
        if kind == "labels":
            threes = rng.random(SIZE) < amount
            rest = np.where(threes, rng.choice(rest[labels[rest] == 3], SIZE), rest[:SIZE])
        images = self.images[rest[:SIZE]]
        if kind in CHANGES:  # as if one of several cameras changed
            images[: round(amount * SIZE)] = rounded(CHANGES[kind](images[: round(amount * SIZE)], rng))
        return self.columns(self.images[chosen]), self.columns(images)


def noisy(images, rng):
    """Return images with noise of standard deviation 0.12."""
    return images + 0.12 * torch.from_numpy(rng.normal(size=images.shape)).float()


def turned(images, rng):
    """Return images rotated by 10 degrees."""
    angle = torch.deg2rad(torch.tensor(10.0))
    turn = torch.tensor([[angle.cos(), -angle.sin(), 0], [angle.sin(), angle.cos(), 0]])
    grid = F.affine_grid(turn.expand(len(images), 2, 3), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def darker(images, rng):
    """Return images at 0.88 of their brightness."""
    return images * 0.88


def blurred(images, rng):
    """Return images with each pixel the mean of its 3x3 neighbourhood."""
    return F.avg_pool2d(images, 3, stride=1, padding=1, count_include_pad=False)


def rounded(images):
    """Return images rounded to the 17 grey levels of the digits."""
    return (images.clamp(0, 1) * 16).round() / 16


CHANGES = {"noise": noisy, "rotation": turned, "brightness": darker, "blur": blurred}


def windows_wanted(stream, kind, amount, name):
    """Return the number of windows of a shift that a detector tests."""
    if kind == "none":
        return (NULL if name == "reprune" else FAST_NULL)[stream]
    return STEP if kind in EASY or (kind, amount) in EASY_AMOUNTS else CLOSE[stream]


def main():
    """Test the windows that the files lack, and print the tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--stream", choices=("tabular", "images"), nargs="+", default=["tabular", "images"])
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    pictures = Pictures()
    for stream in arguments.stream:
        found = Records(HERE / f"power-{stream}.jsonl", ("shift", "amount", "first_seed"))
        shifts = {"tabular": TABULAR, "images": IMAGES}[stream]
        conditions = [("none", 0.0), *((kind, amount) for kind, amounts in shifts.values() for amount in amounts)]
        for first in range(0, FAST_NULL[stream], STEP):
            for kind, amount in conditions:
                names = [name for name in DETECTORS if first < windows_wanted(stream, kind, amount, name)]
                if names and not found.has(kind, amount, first):
                    found.add(**tested(stream, kind, amount, first, names, pictures))
        report(found, shifts)


def tested(stream, kind, amount, first, names, pictures) -> Record:
    """Return the scores of ``STEP`` windows of a shift."""
    scores = {name: [] for name in names}
    for seed in range(first, first + STEP):
        rng = np.random.default_rng([SERIES, seed, *f"{stream} {kind} {amount}".encode()])
        if stream == "images":
            pair = pictures.window(rng, kind, amount)
        else:
            pair = tabular(rng, REFERENCE), tabular(rng, SIZE, **({} if kind == "none" else {kind: amount}))
        for name in names:
            scores[name].append(round(float(getattr(detectors, name)(*pair, seed)), 6))
    return {"shift": kind, "amount": amount, "first_seed": first} | scores


def scores_of(found, kind, amount) -> dict[str, np.ndarray]:
    """Return each detector's scores for a shift, by seed."""
    records = found.select(shift=kind, amount=amount)
    return {name: np.array([it for record in records for it in record.get(name, [])]) for name in DETECTORS}


def report(found, shifts, rate=0.05):
    """Print the share of windows found, and McNemar's p-value, for each shift."""
    print(f"{'shift':36} windows", *(f"{name:>12}" for name in DETECTORS), "  reprune - best other, standard error, p")
    null = scores_of(found, "none", 0.0)
    for title, (kind, amounts) in shifts.items():
        for amount in amounts:
            scores = scores_of(found, kind, amount)
            alarms = {name: alarmed(null[name], scores[name], rate, name) for name in DETECTORS}
            best = max(DETECTORS[1:], key=lambda name: alarms[name].mean())
            shares = "".join(f"{alarms[name].mean():13.0%}" for name in DETECTORS)
            count = len(scores["reprune"])
            print(f"{title + f' {amount:g}':36} {count:7}{shares}", "  ", compared(alarms["reprune"], alarms[best]))


def alarmed(null, scores, rate, name):
    """Return which scores lie beyond the quantile of those without drift."""
    sign = -1 if name in ("reprune", "bonferroni") else 1
    return sign * scores > np.quantile(sign * null, 1 - rate)


def compared(one, other):
    """Return the paired difference, its standard error and McNemar's p-value."""
    more, fewer = int((one & ~other).sum()), int((~one & other).sum())
    difference = one.astype(float) - other.astype(float)
    p_value = stats.binomtest(more, more + fewer).pvalue if more + fewer else 1.0
    return f"{difference.mean():+.1%} {difference.std() / len(one) ** 0.5:.1%} {p_value:.2g}"


if __name__ == "__main__":
    main()
