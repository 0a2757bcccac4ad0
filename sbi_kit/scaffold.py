"""A package to put one's own simulators in: what `sbi-kit new` writes.

The texts lie in `templates` beside this file, with `${package}`, `${simulator}` and `${model}` for
the names. The package offers one short simulator under the entry-point group of
`sbi_kit.registry`, so it can be installed, tested and trained before a line of it is changed.
"""

import keyword
import re
import shutil
import uuid
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template

from sbi_kit.checks import BadValue
from sbi_kit.registry import simulator_names

_NAME = re.compile(r"[a-z]([a-z0-9_]*[a-z0-9])?")  # of a module, and of a distribution
_FILES = {  # where each text goes
    "pyproject.toml.txt": "pyproject.toml",
    "README.md.txt": "README.md",
    "gitignore.txt": ".gitignore",
    "init.py.txt": "${package}/__init__.py",
    "simulator.py.txt": "${package}/${simulator}.py",
    "test_simulator.py.txt": "tests/test_${simulator}.py",
}


def write_package(folder: Path, *, package: str, simulator: str) -> tuple[str, ...]:
    """Write an installable package with one simulator, all of it or nothing.

    Args:
        folder: Where to; it must not exist.
        package: Name of the package.
        simulator: Name of its simulator, of its module and, in capitals, of its class.

    Returns:
        The files, relative to the folder.

    Raises:
        BadValue: A name cannot be one in Python or is taken by what is installed; or the folder
            exists.
        OSError: It cannot be written.
    """
    expect_package(package)
    expect_simulator_name(simulator)
    if folder.exists():
        raise BadValue("a new directory", f"{folder}, which exists", "choose another as --out")
    names = {"package": package, "simulator": simulator, "model": _class_name(simulator)}
    texts = {
        Template(path).substitute(names): Template(_read(template)).substitute(names)
        for template, path in _FILES.items()
    }
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}-{uuid.uuid4().hex}.tmp")
    try:
        for path, text in texts.items():
            (temporary / path).parent.mkdir(parents=True, exist_ok=True)
            (temporary / path).write_text(text, encoding="utf-8")
        temporary.rename(folder)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return tuple(texts)


def expect_package(name: str) -> str:
    """Return `name` if a new package can have it.

    Raises:
        BadValue: It is no name in Python, or something that can be imported here has it.
    """
    _expect_name("package", name)
    spec = find_spec(name)
    # A folder without code is no package yet, though Python would import it as one.
    if spec is not None and spec.origin is not None:
        got = f"{name!r}, which is installed"
        raise BadValue("the name of a new package", got, "choose another")
    return name


def expect_simulator_name(name: str) -> str:
    """Return `name` if a new simulator can have it.

    Raises:
        BadValue: It is no name in Python, or an installed simulator or generator has it.
    """
    _expect_name("simulator", name)
    if name in simulator_names():
        got = f"{name!r}, which is installed"
        raise BadValue("the name of a new simulator", got, "choose another as --simulator")
    return name


def _expect_name(kind: str, name: str) -> None:
    reserved = keyword.iskeyword(name) or keyword.iskeyword(_class_name(name))
    if reserved or not _NAME.fullmatch(name):
        raise BadValue(
            f"the name of a {kind} in small letters a-z, digits and _, starting with a letter",
            f"{name!r}{', which is a word of Python' if reserved else ''}",
            "choose one like my_lab" if kind == "package" else "choose one like decay",
        )


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _read(template: str) -> str:
    return files("sbi_kit").joinpath("templates", template).read_text(encoding="utf-8")
