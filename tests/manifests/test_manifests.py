"""What is installed: valid for the newest Kubernetes, restricted, pinned, without secrets, filled in from one file."""

import re
from pathlib import Path

import jsonschema
import kubernetes_validate
import pytest
import yaml

CRDS = Path(__file__).parent / "crds"
OVERLAYS = ("production", "local")


def definitions():
    for path in sorted(CRDS.glob("*.yaml")):
        spec = yaml.safe_load(path.read_text())["spec"]
        for version in spec["versions"]:
            key = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            yield key, version["schema"]["openAPIV3Schema"]


DEFINITIONS = dict(definitions())


def closed(schema):
    """Return a schema that refuses fields it does not name, as a strict API server does."""
    if isinstance(schema, list):
        return [closed(it) for it in schema]
    if not isinstance(schema, dict):
        return schema
    done = {key: closed(value) for key, value in schema.items()}
    if isinstance(done.get("properties"), dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        done["additionalProperties"] = False
    return done


@pytest.fixture(params=OVERLAYS)
def objects(request):
    return request.getfixturevalue(request.param)


def named(objects, kind, name):
    (found,) = [it for it in objects if it["kind"] == kind and it["metadata"]["name"] == name]
    return found


def pods(objects):
    return [(it["metadata"]["name"], it["spec"]["template"]["spec"]) for it in objects if it["kind"] == "Deployment"]


def test_every_object_is_valid_in_the_newest_kubernetes(objects):
    newest = kubernetes_validate.latest_version()
    for it in objects:
        schema = DEFINITIONS.get((it["apiVersion"], it["kind"]))
        if schema:
            rest = {key: value for key, value in it.items() if key not in ("apiVersion", "kind", "metadata")}
            jsonschema.Draft202012Validator(closed(schema)).validate(it | rest | {"metadata": {}})
        else:
            kubernetes_validate.validate(it, newest, strict=True)


def test_wrong_types_and_unknown_fields_would_be_found(production):
    monitor = named(production, "ServiceMonitor", "reprune-monitor")
    broken = monitor | {"spec": monitor["spec"] | {"endpoint": []}, "metadata": {}}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(closed(DEFINITIONS[(monitor["apiVersion"], "ServiceMonitor")])).validate(broken)
    service = named(production, "Service", "reprune-monitor")
    with pytest.raises(kubernetes_validate.ValidationError):
        newest = kubernetes_validate.latest_version()
        kubernetes_validate.validate(service | {"spec": service["spec"] | {"prots": []}}, newest, strict=True)


def test_selectors_select(objects):
    labels = dict(_labels_of_pods(objects))
    for it in objects:
        spec = it.get("spec", {})
        selector = {
            "Service": spec.get("selector"),
            "PodDisruptionBudget": spec.get("selector", {}).get("matchLabels"),
            "NetworkPolicy": spec.get("podSelector", {}).get("matchLabels"),
        }.get(it["kind"])
        if selector:
            chosen = [name for name, has in labels.items() if selector.items() <= has.items()]
            assert chosen, f"{it['kind']} {it['metadata']['name']} selects no pod"
    service = named(objects, "Service", "reprune-monitor")
    scraped = named(objects, "ServiceMonitor", "reprune-monitor")
    assert scraped["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {it["port"] for it in scraped["spec"]["endpoints"]} <= {it["name"] for it in service["spec"]["ports"]}


def _labels_of_pods(objects):
    for it in objects:
        if it["kind"] == "Deployment":
            yield it["metadata"]["name"], it["spec"]["template"]["metadata"]["labels"]


def test_pods_pass_the_restricted_pod_security_standard(objects):
    """https://kubernetes.io/docs/concepts/security/pod-security-standards/#restricted, and a read-only root too."""
    volumes = {"configMap", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
    for name, pod in pods(objects):
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        assert pod["securityContext"]["seccompProfile"]["type"] == "RuntimeDefault", name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), name
        assert all(set(volume) - {"name"} <= volumes for volume in pod["volumes"]), name
        assert pod["automountServiceAccountToken"] is False, name
        for container in pod["containers"] + pod.get("initContainers", []):
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["readOnlyRootFilesystem"] is True, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name
            assert all("hostPort" not in port for port in container.get("ports", ()))


def test_containers_have_limits_and_probes(objects):
    for name, pod in pods(objects):
        for container in pod["containers"]:
            assert {"cpu", "memory"} <= set(container["resources"]["limits"]), name
            assert container["resources"]["requests"], name
            assert container["livenessProbe"] and container["readinessProbe"], name


def test_images_are_pinned_by_digest_or_cannot_be_pulled_at_all(objects):
    for _, pod in pods(objects):
        for container in pod["containers"]:
            pinned = re.fullmatch(r"[^@]+@sha256:[0-9a-f]{64}", container["image"])
            assert pinned or container["imagePullPolicy"] == "Never", container["image"]


def test_no_secret_is_in_the_manifests_but_every_one_that_is_needed_is_named(objects):
    assert not [it for it in objects if it["kind"] == "Secret"]
    (monitor,) = [pod for name, pod in pods(objects) if name == "reprune-monitor"]
    (container,) = monitor["containers"]
    assert {"secretRef": {"name": "reprune-store"}} in container["envFrom"]
    assert [it["secret"]["secretName"] for it in monitor["volumes"] if "secret" in it] == ["reprune-monitor"]


def test_all_traffic_is_denied_but_what_is_named(objects):
    policies = [it["spec"] for it in objects if it["kind"] == "NetworkPolicy"]
    assert {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]} in policies
    for policy in policies:
        for rule in policy.get("ingress", []) + policy.get("egress", []):
            assert rule["ports"], "every hole names its ports"
            assert rule.get("from") or rule.get("to"), "and its other side"


def test_one_file_of_values_fills_everything_in(overlay):
    objects = overlay(
        "production",
        IMAGE="mirror.example/monitor@sha256:" + "2" * 64,
        KFP_NAMESPACE="team-a",
        STORE_CIDR="10.1.2.3/32",
        PROMETHEUS_NAMESPACE="observability",
        REPRUNE_WORKLOAD="/etc/reprune/workload.yaml",
    )
    (container,) = named(objects, "Deployment", "reprune-monitor")["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "mirror.example/monitor@sha256:" + "2" * 64
    for it in objects:
        if it["kind"] in ("Role", "RoleBinding"):
            assert it["metadata"]["namespace"] == "team-a"
    assert named(objects, "NetworkPolicy", "store")["spec"]["egress"][0]["to"][0]["ipBlock"]["cidr"] == "10.1.2.3/32"
    (source,) = named(objects, "NetworkPolicy", "monitor")["spec"]["ingress"][0]["from"]
    assert source["namespaceSelector"]["matchLabels"] == {"kubernetes.io/metadata.name": "observability"}
    (values,) = [it for it in objects if it["kind"] == "ConfigMap" and "REPRUNE_WORKLOAD" in it["data"]]
    assert values["data"]["REPRUNE_WORKLOAD"] == "/etc/reprune/workload.yaml"
    assert container["envFrom"][0]["configMapRef"]["name"] == values["metadata"]["name"], "a change rolls out"


def test_nothing_runs_before_the_image_is_filled_in(overlay):
    (container,) = named(overlay("production"), "Deployment", "reprune-monitor")["spec"]["template"]["spec"][
        "containers"
    ]
    assert container["image"].endswith("@sha256:" + "0" * 64), "a digest that no image has"


def test_the_monitor_may_start_runs_and_nothing_else(production):
    (binding,) = [it for it in production if it["kind"] == "RoleBinding"]
    assert not [it for it in production if it["kind"] in ("ClusterRole", "ClusterRoleBinding")]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "reprune-monitor", "namespace": "reprune"}]
    allowed = {
        (group, resource, verb)
        for rule in named(production, "Role", binding["roleRef"]["name"])["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert {verb for _, _, verb in allowed} == {"get", "list", "create"}
    assert [it for it in allowed if it[2] == "create"] == [("pipelines.kubeflow.org", "runs", "create")]


def test_the_table_of_rights_in_the_documentation_is_that_of_the_roles(production):
    page = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()
    documented, role = set(), ""
    for line in page.partition("| Role |")[2].partition("\n\n")[0].splitlines()[2:]:
        name, _, group, resources, verbs = (cell.strip(" `") for cell in line.strip("|").split("|"))
        role = name or role
        documented |= {(role, group, it, verb) for it in resources.split(", ") for verb in verbs.split(", ")}
    granted = {
        (it["metadata"]["name"], group, resource, verb)
        for it in production
        if it["kind"] == "Role"
        for rule in it["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert documented == granted
