"""The front page of a run: what is on it, what is left out, and that it stands alone."""

import io
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from matplotlib import image as pictures

from reprune.config.target import Target
from reprune.gate.evidence import Evidence
from reprune.gate.verdict import Verdict
from reprune.inference.latency.latency_table import Axis, LatencyTable, OperatorLatency
from reprune.report.markdown import summary
from reprune.report.plots.quality import png
from reprune.report.report import write_report
from reprune.training.training_history import Epoch, History

HISTORY = History(epochs=[Epoch(epoch=1, loss=1.0, validation_score=0.9, learning_rate=0.1, seconds=2.0)])
CONV = OperatorLatency(input=Axis(), output=Axis(), points=((8, 8, 8e-6), (8, 16, 1.6e-5)))
FULL = {
    "parameters": {"dense": 1000, "pruned": 250},
    "train": HISTORY,
    "finetune": HISTORY,
    "rounds": [
        {
            "round": 1,
            "latency_ratio": 0.5,
            "loss_before": 1.2,
            "loss_after": 0.3,
            "score_before": 0.5,
            "score_after": 0.9,
            "recovered": True,
            "cost_so_far": 0.1,
            "parameters": 250,
        }
    ],
    "sensitivity": {"conv": [{"width": w, "loss_increase": 1 / w, "standard_error": 0.01} for w in (8, 16, 32)]},
    "widths": {"conv": (32, 16), "stem": (8, 8)},
    "profile": LatencyTable(key="planted", target=Target(), operators={"conv": CONV}),
    "allowed_ratio": 0.5,
    "lineage": {"seed": "0"},
}


def written(path: Path, verdict: Verdict, evidence: Evidence, **more: object) -> str:
    write_report(path / "report.html", title="digits", subtitle="run 1", verdict=verdict, evidence=evidence, **more)
    return (path / "report.html").read_text()


def headings(text: str) -> list[str]:
    return re.findall(r"<h2[^>]*>(.*?)</h2>", text)


def test_the_verdict_and_its_reasons_come_first(tmp_path: Path, verdict: Verdict, evidence: Evidence) -> None:
    text = written(tmp_path, verdict, evidence)
    assert not verdict.passed and ">reject</span>" in text
    assert headings(text)[:3] == ["Verdict", "Dense and pruned", "Checks"]
    opening = text[: text.index("Dense and pruned")]
    assert "lost" in opening and "against dense" in opening and "Class 2" in opening
    assert all(check.name.split("<")[0] in text for check in verdict.checks)


def test_what_is_not_given_is_left_out_and_what_is_given_is_shown(
    tmp_path: Path, verdict: Verdict, evidence: Evidence
) -> None:
    bare, full = headings(written(tmp_path, verdict, evidence)), headings(written(tmp_path, verdict, evidence, **FULL))
    extra = {"Training", "Pruning, round by round", "What was kept", "Sensitivity", "Latency over width", "Lineage"}
    assert extra.isdisjoint(bare) and extra <= set(full)
    assert {"Slices", "Calibration", "Disagreements"} <= set(bare)


def test_the_page_stands_alone_and_is_small(tmp_path: Path, verdict: Verdict, evidence: Evidence) -> None:
    text = written(tmp_path, verdict, evidence, **FULL)
    assert len(text) < 1_500_000
    assert "<script" not in text and "@import" not in text
    addresses = re.findall(r'(?:src|href)="([^"]+)"|url\(([^)]+)\)', text)
    assert all(one.startswith(("data:", "#")) for pair in addresses for one in pair if one)
    assert "<torch>" not in text and "&lt;torch&gt; &amp; ONNX" in text


def test_figures_take_the_colours_of_the_page_and_their_ids_are_their_own(
    tmp_path: Path, verdict: Verdict, evidence: Evidence
) -> None:
    text = written(tmp_path, verdict, evidence, **FULL)
    drawings = re.findall(r"<svg.*?</svg>", text, flags=re.S)
    assert len(drawings) >= 8
    for drawing in drawings:
        colours = set(re.findall(r"(?:fill|stroke): (#[0-9a-f]{6})", drawing))
        assert colours <= {"#000000"}, "every colour must follow light and dark"
        assert "var(--" in drawing
    ids = re.findall(r'\bid="([^"]+)"', text)
    repeated = {one for one in ids if ids.count(one) > 1}
    assert not repeated
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(ids)


def test_every_picture_has_words(tmp_path: Path, verdict: Verdict, evidence: Evidence) -> None:
    text = written(tmp_path, verdict, evidence)
    assert text.count("<img") == len(evidence.disagreements) == text.count('alt="Example ')
    assert text.count("<figure>") == len(re.findall(r'<figure><div role="img" aria-label="[^"]{10,}"', text))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_survives_as_png(channels: int) -> None:
    image = np.random.default_rng(0).random((channels, 5, 7)).astype("f")
    read = pictures.imread(io.BytesIO(png(image)), format="png")
    expected = (image - image.min()) / (image.max() - image.min())
    expected = expected[0] if channels == 1 else expected.transpose(1, 2, 0)
    assert read.shape == expected.shape and np.abs(read - expected).max() < 1 / 128


def test_the_markdown_says_the_same(verdict: Verdict) -> None:
    text = summary(verdict, title="digits")
    assert text.startswith("## digits: reject\n")
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    assert len(rows) == len(verdict.checks) + 2
    assert "\\<torch\\>" in text and all(len(re.findall(r"(?<!\\)\|", row)) == 4 for row in rows)


def test_disagreements_that_are_no_pictures_are_listed_worst_first(tmp_path, evidence, verdict):
    bare = replace(evidence, disagreements=[replace(it, image=None, harm=0.25) for it in evidence.disagreements])
    write_report(tmp_path / "page.html", title="t", subtitle="s", verdict=verdict, evidence=bare)
    text = (tmp_path / "page.html").read_text()
    assert "rise of the loss" in text and text.count("0.250") == len(bare.disagreements)
