import yaml

from reprune.monitoring import manifests


def test_the_objects_in_the_repository_are_those_that_rules_and_dashboards_give():
    written = {path.name: path.read_text() for path in manifests.GENERATED.glob("*.yaml")}
    assert written == manifests.generated(), "run `make manifests`"


def test_a_rule_file_is_taken_over_as_it_is():
    rules = yaml.safe_load((manifests.HERE / "rules" / "reprune.rules.yaml").read_text())
    made = yaml.safe_load(manifests.generated()["reprune-rules.yaml"])
    assert made["spec"] == rules


def test_every_dashboard_is_in_a_config_map_that_grafana_s_sidecar_finds():
    dashboards = sorted((manifests.HERE / "dashboards").glob("*.json"))
    for path in dashboards:
        made = yaml.safe_load(manifests.generated()[f"{path.stem}-dashboard.yaml"])
        assert made["data"] == {path.name: path.read_text()}
        assert made["metadata"]["labels"] == {"grafana_dashboard": "1"}


def test_writing_leaves_nothing_of_what_is_gone(tmp_path):
    (tmp_path / "gone.yaml").write_text("{}")
    manifests.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(manifests.generated())
