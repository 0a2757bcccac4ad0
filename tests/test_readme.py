"""What the README says is done here, as it stands there."""

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import sbi_kit as sk

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


MAIN_JOB, TESTS = (block.strip() for block in blocks("bash"))
EXAMPLE, CHECKS, BASELINES, LABELLED, OWN_SIMULATOR, WITH_CONTEXT = blocks("python")
COMMANDS, TREE = blocks("text")


def test_the_examples_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(EXAMPLE, "README.md", "exec"), names)
    assert names["draws"].shape == (1, 4_000, 3)
    again = names["same"].sample(names["model"].observed, draws=4_000, seed=3)
    np.testing.assert_array_equal(again, names["draws"])
    means = names["idata"].posterior.mean()
    assert abs(float(means["beta"]) - 1.735) < 0.053
    assert names["verdict"].datasets == 500
    exec(compile(CHECKS, "README.md", "exec"), names)
    assert names["verdict"].names == ("beta", "gamma", "phi_inv", "R0")
    assert sk.load("runs/flu").certificate.datasets == 500
    assert Path("flu.html").read_text().startswith("<!doctype html>")
    exec(compile(BASELINES, "README.md", "exec"), names)
    np.testing.assert_allclose(names["estimate"].values[:2], [1.7266, 0.5410], atol=1e-3)
    approaches = names["side_by_side"].posterior["approach"].values.tolist()
    assert approaches == ["amortized", "ABC", "maximum likelihood"]
    assert sk.load("runs/flu_abc").acceptance.quantile == 0.01
    assert names["coded"].architecture.inputs >= 4


def test_labelled_data_are_learned_from(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {"sk": sk}
    exec(compile(LABELLED, "README.md", "exec"), names)
    assert "'AUC': 0.9" in capsys.readouterr().out
    rest = names["codes"][6_000:]
    features, labels = rest.drop(columns="label"), rest["label"]
    ceiling = 1 - 1 / (8 * np.sqrt(9))
    assert names["network"].score(features, labels) > ceiling - 0.03
    again, first = (names[one].predict_proba(features) for one in ("same", "network"))
    np.testing.assert_array_equal(again, first)
    assert names["solver"].score(features, labels) > ceiling - 0.02


def test_the_simulator_is_one():
    names = {}
    exec(compile(OWN_SIMULATOR, "README.md", "exec"), names)
    assert names["Decay"].prior.names == ("rate", "size")
    exec(compile(WITH_CONTEXT, "README.md", "exec"), names)
    assert names["Detection"].data.context.names == ("strength",)


def test_the_main_job_meets_its_promise(tmp_path):
    """The first command from the training on; its environment is the one that runs this test."""
    setup, install, job = MAIN_JOB.split(" && ")
    assert setup == "python3 -m venv .venv"
    assert install == ".venv/bin/pip install -e ."
    program, *arguments = shlex.split(job)
    assert program == ".venv/bin/sbi-kit"
    program = Path(sys.executable).with_name("sbi-kit")
    done = subprocess.run(
        [program, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "No miscalibration found (500 datasets" in done.stdout
    posterior = sk.load(tmp_path / "runs" / "influenza")
    draws = posterior.sample(sk.load_simulator("influenza").observed, draws=20_000, seed=1)[0]
    for place, mean, sd in ((0, 1.736, 0.054), (1, 0.540, 0.046)):
        assert abs(draws[:, place].mean() - mean) < 0.3 * sd
        assert 0.75 < draws[:, place].std() / sd < 1.25
    assert sorted(path.name for path in (tmp_path / "runs" / "influenza").iterdir()) == [
        "certificate.json",
        "posterior.json",
        "weights.safetensors",
    ]


@pytest.mark.parametrize("line", COMMANDS.strip().splitlines())
def test_every_command_and_option_exists(line):
    command = re.split(r"\s{2,}", line)[0].split()
    shown = subprocess.run(
        [Path(sys.executable).with_name("sbi-kit"), command[1], "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert all(option in shown for option in command if option.startswith("--"))


def test_the_tests_are_run_by_the_command_that_ci_takes_from_here():
    script = (ROOT / ".ci" / "run").read_text()
    pattern = re.search(r"grep -E '(.*)' README.md", script).group(1)
    assert [line for line in TEXT.splitlines() if re.search(pattern, line)] == [TESTS]
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_tree_names_every_file():
    named = set(re.findall(r"[a-z_]+\.py", TREE))
    files = {path.name for path in (ROOT / "sbi_kit").glob("*.py")} - {"__init__.py"}
    assert named == files
    folders = re.findall(r"^ *([a-z_]+)/", TREE, flags=re.MULTILINE)
    assert all((ROOT / name).is_dir() or (ROOT / "sbi_kit" / name).is_dir() for name in folders)


def test_the_table_lists_the_simulators():
    section = TEXT.split("## What comes with it")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([a-z_]+)`", section, flags=re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert sorted(listed) == sorted(project["entry-points"]["sbi_kit.simulators"])
