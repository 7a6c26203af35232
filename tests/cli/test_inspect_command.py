import json
import re

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import reprune
from reprune.cli.app import app
from reprune.errors import RepruneError

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width=16):
        super().__init__()
        self.stem, self.conv, self.head = nn.Conv2d(3, width, 3), nn.Conv2d(width, 8, 1), nn.Linear(8, 5)

    def forward(self, x, scale=None):
        return self.head(torch.linalg.svdvals(self.conv(torch.relu(self.stem(x))).flatten(2)))


class Embedded(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens, self.head = nn.Embedding(9, 6), nn.Linear(6, 2)

    def forward(self, ids):
        return self.head(self.tokens(ids))


def nothing():
    return 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    (tmp_path / "shop_models.py").write_text(CODE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(__import__("sys").modules, "shop_models", raising=False)
    return tmp_path


def inspect(*arguments):
    return CliRunner().invoke(app, ["inspect", *arguments], catch_exceptions=True)


def test_a_callable_shows_its_groups_and_what_stays_whole_by_operator(folder):
    done = inspect("shop_models:Net", "--input", "2x3x8x8", "--html", "net.html")
    assert done.exit_code == 0, done.output
    assert re.search(r"stem +channel +16 +3", done.output)
    assert "aten::linalg_svdvals has no pruning rule" in done.output and "conv.weight[0]" in done.output
    assert "1 group, " in done.output
    page = (folder / "net.html").read_text()
    assert page.count("<svg") == 1 and "stays whole" in page and "aten::linalg_svdvals" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_json_is_for_machines():
    done = inspect("shop_models:Net", "--input", "2x3x8x8", "--arguments", '{"width": 12}', "--json")
    found = json.loads(done.stdout)
    assert [(group["name"], group["width"]) for group in found["groups"]] == [("stem", 12)]
    assert found["groups"][0]["tensors"] == ["stem.weight", "stem.bias", "conv.weight"]
    assert found["parameters"] == 12 * 27 + 12 + 8 * 12 + 8 + 8 * 5 + 5
    assert found["macs"] == 2 * (36 * 12 * 27 + 36 * 8 * 12 + 8 * 5)
    assert {each["what"] for each in found["whole"]} >= {"conv.weight[0]", "head.weight[0]"}


def test_inputs_may_be_named_and_of_other_types():
    done = inspect("shop_models:Embedded", "--input", "ids=2x4:int64", "--json")
    assert [group["name"] for group in json.loads(done.stdout)["groups"]] == ["tokens"]


def test_a_workload_brings_its_own_inputs():
    done = inspect("breast-cancer", "--json")
    assert len(json.loads(done.stdout)["groups"]) >= 1


def test_a_bundle_is_inspected_as_it_was_cut(folder):
    from shop_models import Net

    pruned, _ = reprune.prune(Net(), torch.randn(2, 3, 8, 8), widths={"stem": 5})
    reprune.save(pruned, folder / "bundle")
    done = inspect("bundle", "--allow", "shop_models", "--input", "2x3x8x8", "--json")
    assert json.loads(done.stdout)["groups"][0]["width"] == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere"], "no workload 'nowhere'"),
        (["shop_models:Net"], "brings no example inputs"),
        (["shop_models:Net", "--input", "3xx"], "'3xx' is no shape"),
        (["shop_models:Net", "--input", "3:int7"], "'3:int7' is no shape"),
        (["shop_models:Net", "--input", "2x3x8x8", "--input", "scale=1"], "some are named"),
        (["shop_models:Net", "--input", "2x4x8x8"], "refuses its example inputs"),
        (["shop_models:Nett", "--input", "1"], "has no 'Nett'"),
        (["shop_models:nothing", "--input", "1"], "returned a int"),
        (["shop_models:Net", "--input", "2x3x8x8", "--arguments", "{"], "is not JSON"),
        (["shop_models:Net", "--input", "2x3x8x8", "--arguments", '{"depth": 1}'], "unexpected keyword argument"),
        (["shop_models:Net", "--input", "2x3x8x8", "--html", "no/where.html"], "cannot be written"),
        (["."], "no bundle"),
    ],
)
def test_bad_input_is_one_clear_error(arguments, message):
    done = inspect(*arguments)
    assert isinstance(done.exception, RepruneError), done.output
    assert message in str(done.exception)


def test_help_teaches_with_an_example():
    done = inspect("--help")
    assert "reprune inspect digits" in done.output and "1x3x224x224" in done.output


def test_a_model_that_cannot_be_cut_has_a_page_too():
    from reprune.pruning.graph.analyze import analyze
    from reprune.report import inspection_page

    for model in (nn.Linear(4, 2), nn.ReLU()):
        html = inspection_page.render("<b>one</b>", analyze(model, torch.randn(2, 4)), "2x4")
        assert "Nothing of this model can be cut" in html and "<b>one</b>" not in html
