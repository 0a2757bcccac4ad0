import ast
import tomllib

import pytest

from sbi_kit import cli, exits, scaffold
from sbi_kit.checks import BadValue


def write(folder, package="my_lab", simulator="decay"):
    return scaffold.write_package(folder, package=package, simulator=simulator)


def test_names_are_in_their_places(tmp_path):
    files = write(tmp_path / "lab", "cell_lab", "slow_growth")
    assert sorted(files) == [
        ".gitignore",
        "README.md",
        "cell_lab/__init__.py",
        "cell_lab/slow_growth.py",
        "pyproject.toml",
        "tests/test_slow_growth.py",
    ]
    found = {p.relative_to(tmp_path / "lab") for p in (tmp_path / "lab").rglob("*") if p.is_file()}
    assert sorted(map(str, found)) == sorted(files)
    texts = {name: (tmp_path / "lab" / name).read_text() for name in files}
    assert not any("$" in text or "decay.py" in text for text in texts.values())
    project = tomllib.loads(texts["pyproject.toml"])
    assert project["project"]["name"] == "cell_lab"
    points = project["project"]["entry-points"]["sbi_kit.simulators"]
    assert points == {"slow_growth": "cell_lab.slow_growth:SlowGrowth"}
    classes = [
        node.name
        for node in ast.parse(texts["cell_lab/slow_growth.py"]).body
        if isinstance(node, ast.ClassDef)
    ]
    assert classes == ["SlowGrowth"]


@pytest.mark.parametrize("name", ["2fast", "my-lab", "My_lab", "größe", "lab_", "_lab", "a b", ""])
@pytest.mark.parametrize("kind", ["package", "simulator"])
def test_what_is_no_name_is_refused(tmp_path, kind, name):
    text = rf"Expected the name of a {kind} in small letters a-z, .*; got {name!r}; choose one like"
    with pytest.raises(BadValue, match=text):
        write(tmp_path / "lab", **{kind: name})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["class", "none"])  # the class would be called None
def test_words_of_python_are_refused(tmp_path, name):
    with pytest.raises(BadValue, match=f"got '{name}', which is a word of Python; choose one like"):
        write(tmp_path / "lab", simulator=name)


@pytest.mark.parametrize("name", ["numpy", "json", "sys", "sbi_kit"])
def test_an_installed_package_is_no_new_one(tmp_path, name):
    with pytest.raises(BadValue, match=f"of a new package; got '{name}', which is installed; cho"):
        write(tmp_path / "lab", package=name)


@pytest.mark.parametrize("name", ["influenza", "housing"])
def test_an_installed_simulator_is_no_new_one(tmp_path, name):
    text = f"of a new simulator; got '{name}', which is installed; choose another as --simulator"
    with pytest.raises(BadValue, match=text):
        write(tmp_path / "lab", simulator=name)


def test_half_a_package_is_not_left_behind(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(scaffold.Path, "rename", fail)
    with pytest.raises(OSError, match="disk full"):
        write(tmp_path / "lab")
    assert not list(tmp_path.iterdir())


def test_the_command_writes_where_it_is_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert exits.run(cli.cli, ["new", "my_lab"]) == 0
    assert capsys.readouterr().out.startswith("my_lab has pyproject.toml, README.md, ")
    assert (tmp_path / "my_lab" / "my_lab" / "decay.py").is_file()
    # The folder that is there now has no code at its top, so that the name is still free.
    where = tmp_path / "deep" / "er"
    given = ["new", "my_lab", "--simulator", "growth", "--out", str(where)]
    assert exits.run(cli.cli, given) == 0
    assert (where / "my_lab" / "growth.py").is_file()
    before = {path: path.read_bytes() for path in where.rglob("*") if path.is_file()}
    capsys.readouterr()
    assert exits.run(cli.cli, given) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"Expected a new directory; got {where}, which exists; choose another")
    assert before == {path: path.read_bytes() for path in where.rglob("*") if path.is_file()}
