"""The package that `sbi-kit new` writes is found, tested, trained and judged.

It is built and installed by pip into an environment of its own, which sees this one's libraries
beside it.
"""

import json
import re
import subprocess
import sys
import sysconfig
import venv

import pytest

from sbi_kit import scaffold

RUN = "from sbi_kit.cli import main; main()"
SMALL = ("--simulations", "1500", "--members", "1", "--steps", "100")


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """The written package, and the interpreter of a new environment that has it installed."""
    home = tmp_path_factory.mktemp("lab")
    scaffold.write_package(home / "my_lab", package="my_lab", simulator="half_life")
    venv.create(home / "environment", with_pip=True)
    python = home / "environment" / "bin" / "python"
    here = sysconfig.get_path("purelib")
    site = f"python{sysconfig.get_python_version()}/site-packages"
    # As a .pth line, so that what is installed here in editable form is seen there too.
    there = home / "environment" / "lib" / site / "libraries.pth"
    there.write_text(f"import site; site.addsitedir({here!r})\n")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", home / "my_lab"]
    subprocess.run(install, check=True, cwd=home)
    return python, home / "my_lab"


def run(lab, *arguments):
    python, home = lab
    done = subprocess.run(
        [python, "-W", "error", *arguments], cwd=home, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_own_tests_pass(lab):
    assert "2 passed" in run(lab, "-m", "pytest", "-p", "no:cacheprovider")


def test_it_is_listed_trained_and_judged(lab):
    listed = run(lab, "-c", RUN, "list")
    assert "half_life" in listed
    assert "influenza" in listed
    assert "my_lab" in listed.replace("-", "_")
    fitted = run(lab, "-c", RUN, "fit", "half_life", "--out", "runs/half_life", *SMALL)
    size = re.search(r"^size .* (\S+) +\S+$", fitted, flags=re.MULTILINE)
    assert float(size.group(1)) > 0.5  # R²
    certificate = json.loads((lab[1] / "runs" / "half_life" / "certificate.json").read_text())
    assert certificate["parameters"].keys() == {"rate", "size"}


def test_it_is_not_found_here():
    code = "import sbi_kit as sk; sk.load_simulator('half_life')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "got 'half_life'" in done.stderr
