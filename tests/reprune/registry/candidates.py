"""Small versions that the gate let through, as the promote step publishes them."""

from reprune import hashing
from reprune.gate.verdict import Check, conclude

PASSED = Check(name="quality", family="quality", severity="block", status="passed", statement="no loss")


def write(folder, text):
    """Write the files of a candidate; approval asks no target about it, so its model is any text."""
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_text(text)
    (folder / "requests.npz").write_text("asked of no target")
    verdict = conclude([PASSED], candidate_sha256=hashing.of_file(folder / "model.onnx"), examples=10)
    (folder / "verdict.json").write_text(verdict.model_dump_json())
    return folder


def lineage(champion):
    """Return what a candidate's lineage says of the champion that it was compared with."""
    return {"compared_with": champion.model_dump(mode="json") if champion else None, "targets": []}
