"""The documentation builds without a warning, and what its pages show is what happens.

A page is played from top to bottom, one namespace a page: Python is run, command lines are run,
and a text below Python is what it says, by print, by a warning or by an error of the package; only
the digits of decimals may differ.
Only the page about other packages has code that is not run here, in blocks of another form.
"""

import contextlib
import doctest
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
from sphinx.util.inventory import InventoryFile

import sbi_kit as sk
from sbi_kit import cli, exits
from sbi_kit.checks import BadInput

DOCS = Path(__file__).parents[1] / "notebooks" / "docs"
FIRST = "concepts"
PAGES = {path.relative_to(DOCS).with_suffix("").as_posix(): path for path in DOCS.rglob("*.md")}
PLAYED = sorted(name for name, path in PAGES.items() if "```python" in path.read_text())
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?", re.DOTALL | re.M)
CHECKER, LOOSELY = doctest.OutputChecker(), doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def play(name):
    """Run a page in the working directory."""
    text, names = PAGES[name].read_text(), {}
    for language, code, said in BLOCK.findall(text):
        if language == "bash":
            command(code)
        else:
            heard = hear(code, names)
            fits = CHECKER.check_output(masked(said), masked(heard), LOOSELY)
            assert fits, f"{name}:\n{code}\nshould say\n{said}\nbut says\n{heard}"


def masked(text):
    """A text without the digits of decimal numbers, in which machines differ.

    In a table, and after "p =", a decimal may have been rounded to 0 or 1.
    """
    return re.sub(r"\d+(?:\.\d+(?:e-?\d+)?|e-?\d+)\b|(?<=(?:  |= ))[01](?=  |\n)", "#", text)


def command(lines):
    """Run lines of a shell that begin with sbi-kit; others may only be comments."""
    for line in lines.splitlines():
        if not line.startswith("#"):
            program, *arguments = shlex.split(os.path.expandvars(line))
            assert program == "sbi-kit"
            assert exits.run(cli.cli, arguments) == 0, line


def hear(code, names):
    """What Python code prints, warns of, and is refused with."""
    out, refused = io.StringIO(), ""
    with contextlib.redirect_stdout(out), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            exec(compile(code, "block", "exec"), names)
        except BadInput as error:
            refused = f"{error}\n"
    warned = "".join(f"{warning.message}\n" for warning in caught)
    return out.getvalue() + warned + refused


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A directory in which the first page was played, on whose posterior the others go on."""
    folder = tmp_path_factory.mktemp("docs")
    with contextlib.chdir(folder):
        play(FIRST)
        model = sk.load_simulator("regression", {"predictors": 2, "n": (10, 50)})
        columns = dict(zip(model.data.columns, model.observed.T.tolist(), strict=True))
        rows = zip(*columns.values(), strict=True)
        lines = [",".join(columns), *(",".join(map(str, row)) for row in rows)]
        Path("study.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("name", [name for name in PLAYED if name != FIRST])
def test_what_a_page_shows_is_what_happens(name, workplace, tmp_path, monkeypatch):
    shutil.copytree(workplace, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    play(name)


@pytest.mark.parametrize("name", PAGES)
def test_code_that_nobody_runs_is_of_other_packages(name):
    text = PAGES[name].read_text()
    assert len(BLOCK.findall(text)) == len(re.findall("^```(?:python|bash)$", text, re.M))
    assert "```{code-block}" not in text or name == "coming_from"
    alone = text.count("```text\n") - sum(1 for *_, said in BLOCK.findall(text) if said)
    assert alone == 0, "a text that stands below no code is compared with nothing"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The pages, built from a copy, because figures are written beside their sources."""
    folder = tmp_path_factory.mktemp("built")
    ignored = shutil.ignore_patterns("figures", "__pycache__")
    shutil.copytree(DOCS, folder / "docs", ignore=ignored)
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", "html"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "html"


def test_every_page_and_every_public_name_is_there(built):
    for name in PAGES:
        assert (built / f"{name}.html").is_file()
    known = InventoryFile.loads((built / "objects.inv").read_bytes(), uri="").data
    named = {name for kind, found in known.items() if kind.startswith("py:") for name in found}
    assert {f"sbi_kit.{name}" for name in sk.__all__} <= named
    rooms = (
        "plots.rank_ecdf",
        "latent.PPCA",
        "mle.fit",
        "supervised.multitask.MultiTask",
        "supervised.load_model",
        "autodiff.trace",
        "diagnostics.local",
    )
    assert {f"sbi_kit.{room}" for room in rooms} <= named


def test_the_pages_ask_nothing_of_the_network(built):
    loaded = re.compile(r"""(?:<script[^>]*src|<img[^>]*src|<link[^>]*href)="(https?:)?//""")
    for path in built.rglob("*.html"):
        assert not loaded.search(path.read_text()), path.name
    for path in built.rglob("*.css"):
        assert not re.search(r"(?:@import|url\()\s*[\"']?(?:https?:)?//", path.read_text())


def test_links_between_the_pages_lead_somewhere(built):
    anchors = {
        path: set(re.findall(r'\bid="([^"]+)"', path.read_text())) for path in built.rglob("*.html")
    }
    for path in anchors:
        for link in re.findall(r'<a [^>]*href="([^"]*)"', path.read_text()):
            target, _, anchor = link.partition("#")
            if re.match(r"[a-z]+:", target):
                continue
            there = (path.parent / target).resolve() if target else path
            assert there.exists(), f"{path.name} links to {link}"
            assert not anchor or anchor in anchors[there], f"{path.name} links to {link}"
