import importlib
import os

import pytest

from reprune.errors import InputError
from reprune.steps import code_archive


def project(folder):
    (folder / "nets" / "data").mkdir(parents=True)
    (folder / "nets" / "__init__.py").write_text("")
    (folder / "nets" / "data" / "__init__.py").write_text("VALUE = 42\n")
    (folder / "nets" / "data" / "names.csv").write_text("a,b\n")
    (folder / "main.py").write_text("from nets.data import VALUE\n")
    return folder


def names(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_modules_and_what_lies_in_packages_travel_and_can_be_imported(tmp_path, monkeypatch):
    unpacked = code_archive.unpack(code_archive.pack(project(tmp_path)))
    assert names(unpacked) == {"main.py", "nets/__init__.py", "nets/data/__init__.py", "nets/data/names.csv"}
    monkeypatch.syspath_prepend(str(unpacked))
    assert importlib.import_module("main").VALUE == 42


def test_what_is_no_code_stays_behind(tmp_path):
    project(tmp_path)
    for name in ("notes.txt", "store/runs/x.json", ".git/hook.py", "nets/__pycache__/x.pyc", "env/lib/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "env" / "pyvenv.cfg").write_text("")
    (tmp_path / "link.py").symlink_to("/etc/hostname")
    assert names(code_archive.unpack(code_archive.pack(tmp_path))) == {
        "main.py", "nets/__init__.py", "nets/data/__init__.py", "nets/data/names.csv",
    }  # fmt: skip


def test_the_same_files_give_the_same_text_whenever_they_were_written(tmp_path):
    first = code_archive.pack(project(tmp_path))
    os.utime(tmp_path / "main.py", (0, 0))
    assert code_archive.pack(tmp_path) == first
    (tmp_path / "main.py").write_text("changed = 1\n")
    assert code_archive.pack(tmp_path) != first


def test_a_folder_without_code_is_nothing(tmp_path):
    assert code_archive.pack(tmp_path) is None


def test_too_much_code_names_the_largest_and_the_way_out(tmp_path):
    (tmp_path / "weights.py").write_bytes(os.urandom(60_000))
    (tmp_path / "small.py").write_text("")
    with pytest.raises(InputError, match=r"largest: weights\.py") as error:
        code_archive.pack(tmp_path)
    assert "image" in error.value.remedy


@pytest.mark.parametrize("text", [code_archive.PREFIX + "%%%", code_archive.PREFIX + "AAAA"])
def test_damaged_code_is_told(text):
    with pytest.raises(InputError, match="packed code cannot be read"):
        code_archive.unpack(text)
