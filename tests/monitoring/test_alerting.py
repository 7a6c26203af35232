"""The whole chain with the real programs: scrape, rule, alert, webhook, re-prune, promotion, all clear."""

import shutil
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
import yaml

from reprune.drift.monitor import prediction_log
from reprune.drift.monitor.monitor_state import Keeper
from reprune.monitoring.launchers import Local
from reprune.monitoring.monitor import Monitor
from reprune.monitoring.service import Server, Token
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store
from tests.conftest import free_port
from tests.monitoring import production
from tests.monitoring.programs import ALERTMANAGER, PROMETHEUS, await_, get, prometheus, running

MONITORING = Path(__file__).parents[2] / "monitoring"
PROJECT = Path(__file__).parents[1] / "end_to_end" / "project"
TOKEN = "a-token-of-enough-letters"

pytestmark = pytest.mark.skipif(
    not (PROMETHEUS and ALERTMANAGER), reason="needs apt-get install prometheus prometheus-alertmanager"
)


class Programs:
    """Prometheus and Alertmanager with the configurations that are shipped, but for addresses and intervals."""

    def __init__(self, folder, monitor_port):
        self.folder = folder
        self.prometheus, self.alertmanager = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        (folder / "token").write_text(TOKEN)
        config = yaml.safe_load((MONITORING / "prometheus" / "prometheus.yml").read_text())
        config["global"] = {"scrape_interval": "300ms", "evaluation_interval": "300ms"}
        config["rule_files"] = [str(MONITORING / "rules" / "*.rules.yaml")]
        config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [self.alertmanager]
        scrapes = {it["job_name"]: it for it in config["scrape_configs"]}
        scrapes["reprune-monitor"]["static_configs"][0]["targets"] = [f"127.0.0.1:{monitor_port}"]
        config["scrape_configs"] = [scrapes["reprune-monitor"]]
        self._write("prometheus.yml", config)
        config = yaml.safe_load((MONITORING / "alertmanager" / "alertmanager.yml").read_text())
        config["route"]["routes"][0] |= {"group_interval": "1s", "repeat_interval": "1s"}
        webhook = config["receivers"][1]["webhook_configs"][0]
        webhook["url"] = f"http://127.0.0.1:{monitor_port}/alerts"
        webhook["http_config"]["authorization"]["credentials_file"] = str(folder / "token")
        self._write("alertmanager.yml", config)

    def _write(self, name, config):
        (self.folder / name).write_text(yaml.safe_dump(config))

    @contextmanager
    def started(self):
        folder = self.folder
        alertmanager = [
            ALERTMANAGER,
            f"--config.file={folder / 'alertmanager.yml'}",
            f"--storage.path={folder / 'alertmanager'}",
            f"--web.listen-address={self.alertmanager}",
            "--cluster.listen-address=",
        ]
        with (
            prometheus(folder, self.prometheus) as self.query,
            running(alertmanager, folder / "alertmanager.log"),
        ):
            yield self

    def active(self):
        """Return the names of the alerts that Alertmanager holds for active."""
        return {it["labels"]["alertname"] for it in get(f"{self.alertmanager}/api/v2/alerts?active=true")}

    def firing(self, name):
        return self.query(f'ALERTS{{alertname="{name}", alertstate="firing"}}')


@contextmanager
def served(monitor, port):
    """Let a monitor watch and serve, as the command does, but in this process."""
    stop = threading.Event()
    with Server(("127.0.0.1", port), monitor, Token(given=TOKEN)) as server:
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,)),
            threading.Thread(target=monitor.watch, args=(stop, 0.3)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            server.shutdown()
            for thread in threads:
                thread.join(timeout=30)


PROMOTE = """
import json, sys
from reprune.registry.registry import Registry
from reprune.storage.uri import open_store
registry = Registry(open_store(sys.argv[1]), sys.argv[2])
registry.promote(sys.argv[3], reason="pruned again", expected=registry.champion())
print(json.dumps({"outcome": "promoted"}))
"""


def test_drift_is_scraped_alerted_pruned_away_and_all_is_clear(tmp_path):
    """The re-prune is a process as the monitor starts them, that promotes a version made beforehand."""
    store = open_store(tmp_path / "store")
    registry = Registry(store, production.NAME)
    after = production.promote(store, tmp_path / "after", shift=1.0, scale=2.0)
    before = production.promote(store, tmp_path / "before")
    for n in range(3):
        production.log_window(store, f"{n}", seed=10 + n, shift=1.0)
    launcher = Local("signals", store.uri, tmp_path / "runs")
    launcher.command = [sys.executable, "-c", PROMOTE, store.uri, production.NAME, after.version]
    monitor = Monitor(production.workload(monitor={"act_on": ["alert"]}), store, launcher)
    port = free_port()
    with ExitStack() as stack:
        stack.enter_context(served(monitor, port))
        programs = stack.enter_context(Programs(tmp_path, port).started())
        await_("the alert", lambda: programs.firing("RepruneDriftConfirmed") or monitor.snapshot().state.launches)
        await_("the promotion", lambda: registry.champion().version == after.version)
        await_("its outcome", lambda: monitor.snapshot().state.launches[-1].progress == "promoted")
        production.log_window(store, "3", seed=20, shift=1.0)
        await_("the window after it", lambda: programs.query('reprune_monitor_windows_total{verdict="no drift"} == 1'))
        await_("the all-clear", lambda: not programs.firing("RepruneDriftConfirmed"))
        await_("Alertmanager's all-clear", lambda: "RepruneDriftConfirmed" not in programs.active())
        await_("the end of drift itself", lambda: not programs.firing("RepruneDrift"))
        assert programs.query("reprune_promotions_total")[0]["value"][1] == "3"
        state = monitor.snapshot().state
    (launch,) = state.launches
    assert launch.source == "alert" and "RepruneDriftConfirmed" in launch.reason
    assert [move.version for move in registry.history()] == [after.version, before.version, after.version]


MOVING = """
from pathlib import Path

from shapes import SIZES, points
from torch.utils.data import TensorDataset


def load(split):
    if split == "production":
        raise KeyError(split)
    inputs, labels = points(split, SIZES[split])
    return TensorDataset(inputs + float(Path(__file__).with_name("shift").read_text()), labels)
"""


@pytest.mark.slow
@pytest.mark.timeout(2400)
def test_the_world_moves_and_the_command_prunes_again_by_itself(tmp_path):
    """The same with nothing played: the command line, a pipeline that trains, prunes and promotes, and its outcome."""
    shutil.copytree(PROJECT, tmp_path, dirs_exist_ok=True)
    (tmp_path / "moving.py").write_text(MOVING)
    (tmp_path / "shift").write_text("0")
    raw = yaml.safe_load((tmp_path / "workload.yaml").read_text())
    raw |= {"data": "moving:load", "monitor": {"act_on": ["alert"]}}
    (tmp_path / "workload.yaml").write_text(yaml.safe_dump(raw))
    reprune = [sys.executable, "-m", "reprune"]
    subprocess.run([*reprune, "run", "workload.yaml"], cwd=tmp_path, check=True, capture_output=True, timeout=1200)
    store, port = open_store(tmp_path / "reprune-store"), free_port()
    registry, keeper = Registry(store, "shapes"), Keeper(store, "shapes")
    before = registry.champion()

    def log_window(name):
        inputs = production.inputs(200, seed=int(name), columns=8)
        inputs[:, :2] += 0.35 * np.sign(inputs[:, :2])
        prediction_log.write(store, "shapes", name, {"input": inputs + 1.0})

    for name in "012":
        log_window(name)
    (tmp_path / "shift").write_text("1")
    (tmp_path / "token").write_text(TOKEN)
    options = ["--start", "local", "--interval", "1", "--token-file", "token", "--listen", f"127.0.0.1:{port}"]
    with ExitStack() as stack:
        command = ["env", "-C", tmp_path, *reprune, "monitor", "workload.yaml", *options]
        stack.enter_context(running(command, tmp_path / "monitor.log"))
        programs = stack.enter_context(Programs(tmp_path, port).started())
        await_("the launch", lambda: keeper.read().launches)
        await_("its end", lambda: not keeper.read().launches[0].in_flight, seconds=1200)
        log_window("3")
        await_("the window after it", lambda: programs.query('reprune_monitor_windows_total{verdict="no drift"} == 1'))
        await_("the all-clear", lambda: not programs.firing("RepruneDriftConfirmed"))
    (launch,) = keeper.read().launches
    assert (launch.source, launch.progress) == ("alert", "promoted")
    assert registry.champion().version != before.version
    assert [move.action for move in registry.history()] == ["promote", "promote"]
