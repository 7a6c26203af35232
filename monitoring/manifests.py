"""Kubernetes objects made from the rules and dashboards: ``python -m reprune.monitoring.manifests`` writes them."""

from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
GENERATED = HERE.parent / "manifests" / "base" / "generated"
HEADER = "# Made from monitoring/ by `make manifests`; edit it there.\n"


def generated() -> dict[str, str]:
    """Return the objects by the name of their file."""
    objects: dict[str, dict[str, Any]] = {}
    for path in sorted((HERE / "rules").glob("*.rules.yaml")):
        name = path.name.removesuffix(".rules.yaml")
        objects[f"{name}-rules.yaml"] = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PrometheusRule",
            "metadata": {"name": name},
            "spec": yaml.safe_load(path.read_text()),
        }
    for path in sorted((HERE / "dashboards").glob("*.json")):
        objects[f"{path.stem}-dashboard.yaml"] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": f"{path.stem}-dashboard", "labels": {"grafana_dashboard": "1"}},
            "data": {path.name: path.read_text()},
        }
    files = {
        "kustomization.yaml": {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": list(objects),
        }
    }
    return {name: HEADER + _dump(it) for name, it in (files | objects).items()}


def write(folder: Path = GENERATED) -> None:
    """Write the objects, and nothing else, into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        old.unlink()
    for name, text in generated().items():
        (folder / name).write_text(text)


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as they are read."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=120, allow_unicode=True)


if __name__ == "__main__":
    write()
