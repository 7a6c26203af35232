"""The rules of the house: data falls from the command line to the library, and algorithms live in the library alone."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SHELLS = ("components", "pipelines", "monitoring")
NUMERICS = {"torch", "numpy", "scipy", "pandas", "sklearn", "onnx", "onnxruntime", "great_expectations", "matplotlib"}
LONGEST_SHELL_FUNCTION = 60


def sources(folder):
    return sorted((ROOT / folder).rglob("*.py"))


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("path", sources("reprune"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_knows_no_kfp(path):
    assert not [name for name in imported(path) if name.split(".")[0].startswith("kfp")]


@pytest.mark.parametrize("path", sources("reprune"), ids=lambda p: str(p.relative_to(ROOT)))
def test_the_library_below_the_command_line_knows_no_shell(path):
    if path.is_relative_to(ROOT / "reprune" / "cli"):
        return
    assert not [name for name in imported(path) if name.split(".")[:2][-1] in SHELLS]


@pytest.mark.parametrize("path", [p for s in SHELLS for p in sources(s)], ids=lambda p: str(p.relative_to(ROOT)))
def test_shells_hold_no_algorithm(path):
    assert not NUMERICS & {name.split(".")[0] for name in imported(path)}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef):
            assert node.end_lineno - node.lineno < LONGEST_SHELL_FUNCTION, (
                f"{node.name} is longer than a shell should be"
            )


@pytest.mark.parametrize("path", sorted((ROOT / "components").glob("*/component.py")), ids=lambda p: p.parent.name)
def test_a_component_is_a_signature_and_one_call(path):
    tree = ast.parse(path.read_text())
    top = {
        name.split(".")[0]
        for node in tree.body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name in imported(path)
    }
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef)]
    assert [function.name for function in functions] == [path.parent.name]
    work = [node for node in functions[0].body if not isinstance(node, (ast.ImportFrom, ast.Expr))]
    assert len(work) == 1 and isinstance(work[0], ast.With) and len(work[0].body) == 1
    assert top <= {"kfp", "pathlib", "reprune"}


def test_components_import_nothing_but_kfp_before_they_run():
    for path in (ROOT / "components").glob("*/component.py"):
        at_top = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.Import, ast.ImportFrom))]
        assert [node.module for node in at_top] == ["kfp"], path


def test_the_components_know_nothing_of_the_pipelines():
    for path in sources("components"):
        assert not [name for name in imported(path) if name.startswith("reprune.pipelines")]
