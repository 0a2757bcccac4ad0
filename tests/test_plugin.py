"""A simulator in somebody else's package is found, trained and sampled.

The package is built and installed by pip into an environment of its own, which sees this one's
libraries beside it.
"""

import subprocess
import sys
import sysconfig
import textwrap
import venv

import pytest

PROJECT = """
[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "my_lab"
version = "0.3.1"

[project.entry-points."sbi_kit.simulators"]
decay = "my_lab.decay:Decay"
"""

DECAY = """
import numpy as np

import sbi_kit as sk


class Decay:
    prior = sk.Prior(rate=sk.Uniform(0.1, 2.0), size=sk.LogUniform(10, 1_000))
    data = sk.Exchangeable(columns=("count",), n=(20, 40))

    def simulate(self, theta, rng, n):
        rate, size = theta[:, :1], theta[:, 1:]
        age = rng.uniform(0, 2, (len(theta), n))
        return rng.poisson(size * np.exp(-rate * age))[:, :, None]
"""

USE = """
import numpy as np

import sbi_kit as sk

assert "decay" in sk.simulator_names() and "influenza" in sk.simulator_names()
model = sk.load_simulator("decay")
sk.check_simulator(model)
posterior = sk.fit(sk.simulate(model, 2_000, seed=1), seed=2, steps=70, width=32, blocks=2)
posterior.save("decay")

truth = np.array([[1.0, 300.0]])
x = model.simulate(truth, np.random.default_rng(3), 40)
draws = sk.load("decay").sample(x, draws=1_000, seed=4)
assert draws.shape == (1, 1_000, 2)
assert abs(np.log(draws[0, :, 1]).mean() - np.log(300)) < 0.5
assert draws[0, :, 1].std() < 150
print("sampled")
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory):
    """The interpreter of a new environment with the plug-in installed."""
    folder = tmp_path_factory.mktemp("lab")
    source = folder / "source" / "my_lab"
    source.mkdir(parents=True)
    (source / "__init__.py").touch()
    (source / "decay.py").write_text(DECAY)
    (source.parent / "pyproject.toml").write_text(PROJECT)
    home = folder / "environment"
    venv.create(home, with_pip=True)
    python = home / "bin" / "python"
    here = sysconfig.get_path("purelib")
    there = home / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    # As a .pth line, so that what is installed here in editable form is seen there too.
    (there / "libraries.pth").write_text(f"import site; site.addsitedir({here!r})\n")
    install = [python, "-m", "pip", "install", "--quiet", "--no-deps", source.parent]
    subprocess.run(install, check=True, cwd=folder)
    return python


def run(python, *arguments, cwd):
    return subprocess.run(
        [python, *arguments], cwd=cwd, capture_output=True, text=True, check=False
    )


def test_an_installed_plugin_is_found_trained_and_sampled(python, tmp_path):
    done = run(python, "-W", "error", "-c", textwrap.dedent(USE), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "sampled\n"


def test_the_command_line_lists_it(python, tmp_path):
    code = "from sbi_kit.cli import main; main(['list'])"
    done = run(python, "-c", code, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "decay" in done.stdout
    assert "my_lab" in done.stdout.replace("-", "_")


def test_it_is_not_found_here():
    done = run(sys.executable, "-c", "import sbi_kit as sk; sk.load_simulator('decay')", cwd=None)
    assert done.returncode == 1
    assert "got 'decay'" in done.stderr
