"""The manifests as `kubectl apply -k` would send them, and a cluster to send them to where there is one."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
CRDS = Path(__file__).parent / "crds"
DIGEST = "sha256:" + "1" * 64


def rendered(folder):
    if shutil.which("kubectl") is None:
        pytest.skip("kubectl is not on the PATH")
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


@pytest.fixture(scope="session")
def overlay(tmp_path_factory):
    """Render an overlay, with some of its values changed."""

    def render(name, **values):
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(ROOT / "manifests", folder / "manifests", ignore=shutil.ignore_patterns("images"))
        file = folder / "manifests" / "overlays" / name / "values.env"
        lines = file.read_text().splitlines()
        for key, value in values.items():
            assert sum(line.startswith(f"{key}=") for line in lines) == 1, key
            lines = [f"{key}={value}" if line.startswith(f"{key}=") else line for line in lines]
        file.write_text("\n".join(lines) + "\n")
        return rendered(file.parent)

    return render


@pytest.fixture(scope="session")
def production(overlay):
    return overlay("production", IMAGE=f"registry.example/reprune-monitor@{DIGEST}")


@pytest.fixture(scope="session")
def local(overlay):
    return overlay("local")


@pytest.fixture(scope="session")
def kubectl():
    """Run kubectl against a cluster to throw away, with the definitions of others installed that reprune uses."""
    if not os.environ.get("KUBECONFIG"):
        pytest.skip("KUBECONFIG names no cluster; `make test-cluster` says how to give it one")

    def run(*arguments, objects=None, check=True):
        done = subprocess.run(
            ["kubectl", *arguments, *(["-f", "-"] if objects is not None else [])],
            input=yaml.safe_dump_all(objects) if objects is not None else None,
            capture_output=True,
            text=True,
            timeout=420,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    run("apply", *(argument for path in sorted(CRDS.glob("*.yaml")) for argument in ("-f", str(path))))
    run("wait", "--for=condition=Established", "--timeout=60s", "crd", "--all")
    for name in ("reprune", "kubeflow"):
        run("create", "namespace", name, check=False)
    return run


@pytest.fixture(scope="session")
def for_this_server(kubectl):
    """Lower what an old API server does not have yet: PodDisruptionBudget is policy/v1 since Kubernetes 1.21."""
    minor = int(json.loads(kubectl("version", "-o", "json").stdout)["serverVersion"]["minor"].rstrip("+"))

    def lowered(objects):
        old = {"PodDisruptionBudget": "policy/v1beta1"} if minor < 21 else {}
        return [it | {"apiVersion": old.get(it["kind"], it["apiVersion"])} for it in objects]

    return lowered
