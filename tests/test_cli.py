import json
import os
import re
import signal
import subprocess
import sys
import time
import tomllib
import warnings
from contextlib import nullcontext
from io import StringIO
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from sbi_kit import cli, console, options
from sbi_kit.arviz_bridge import read_netcdf
from sbi_kit.bank import Bank
from sbi_kit.diagnostics import calibration
from sbi_kit.diagnostics.calibration import calibrate
from sbi_kit.fitting import fit
from sbi_kit.loading import load
from sbi_kit.online import fit_online
from sbi_kit.registry import load_generator, load_simulator
from sbi_kit.rejection import fit_abc
from sbi_kit.seeds import torch_seed
from sbi_kit.simulation import simulate
from sbi_kit.train import Report

CODE = """
import os
import time

import numpy as np
import pandas as pd

from sbi_kit.data import Exchangeable, Vector
from sbi_kit.prior import Normal, Prior, Uniform

WAIT = float(os.environ.get("TEST_CLI_WAIT", 0))

class Location:
    prior = Prior(mu=Normal(0, 1), idle=Uniform(0, 1))
    data = Vector(columns=("x",))
    observed = np.array([1.0])

    def __init__(self, noise=0.5, limit=9.0, span=(0, 1), tag="a"):
        if noise <= 0:
            raise ValueError("noise must be above 0")
        self.noise, self.limit, self.span, self.tag = noise, limit, span, tag
        assert isinstance(span, tuple)

    def simulate(self, theta, rng):
        time.sleep(WAIT)
        if (theta[:, 0] > self.limit).any():
            raise ZeroDivisionError("mu is too large")
        return theta[:, :1] + self.noise * rng.standard_normal((len(theta), 1))

class Counts:
    prior = Prior(rate=Uniform(1, 20), other=Uniform(0, 1))
    data = Exchangeable(columns=("count",), n=(5, 20))

    def simulate(self, theta, rng, n):
        return rng.poisson(theta[:, :1, None], (len(theta), n, 1))

class Stimulus:
    prior = Prior(slope=Normal(0, 1))
    data = Vector(columns=("x", "y"), context=Prior(strength=Uniform(0.5, 2)), missing=("y",))

    def simulate(self, theta, rng, context):
        return theta * context + 0.5 * rng.standard_normal((len(theta), 2))

class Apples:
    features, targets = ("weight", "kind"), ("price",)

    def __init__(self, noise=1.0):
        self.noise = noise

    def generate(self, rows, rng):
        weight = rng.random(rows)
        kind = np.where(weight < 0.5, "cox, small", "boskoop")
        price = weight + self.noise * rng.random(rows)
        holes = np.where(weight < 0.1, np.nan, weight)
        return pd.DataFrame({"weight": holes, "kind": kind, "price": price})

class Orchard(Apples):
    features = tuple(f"tree_{i}" for i in range(1, 41))

def crash():
    raise OSError("no licence")
"""
POINTS = {
    "apples": "test_cli_lab:Apples",
    "broken": "test_cli_missing:Model",
    "counts": "test_cli_lab:Counts",
    "crash": "test_cli_lab:crash",
    "location": "test_cli_lab:Location",
    "orchard": "test_cli_lab:Orchard",
    "stimulus": "test_cli_lab:Stimulus",
}
PROJECT = tomllib.loads(Path(__file__).parents[1].joinpath("pyproject.toml").read_text())["project"]
OWN = PROJECT["entry-points"]["sbi_kit.simulators"]
NAMES = ", ".join(sorted([*POINTS, *OWN]))
SMALL = ("--simulations", "300", "--steps", "250", "--members", "1")
FILES = ["certificate.json", "posterior.json", "weights.safetensors"]
ROUGH = "300 simulations give a rough posterior"


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A distribution with simulators, installed in a directory as pip would."""
    folder = tmp_path_factory.mktemp("lab")
    info = folder / "my_lab-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_lab\nVersion: 1.2\n")
    lines = "".join(f"{name} = {target}\n" for name, target in POINTS.items())
    (info / "entry_points.txt").write_text(f"[sbi_kit.simulators]\n{lines}")
    (folder / "test_cli_lab.py").write_text(CODE)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        yield folder
    sys.modules.pop("test_cli_lab", None)


@pytest.fixture(scope="module")
def trained(lab, tmp_path_factory):
    """What `fit location` printed, and where the posterior is."""
    folder = tmp_path_factory.mktemp("trained") / "location"
    done = start("fit", "location", "--out", str(folder), *SMALL, lab=lab).communicate()
    return SimpleNamespace(path=folder, stdout=done[0], stderr=done[1])


@pytest.fixture
def run(lab, capsys, tmp_path, monkeypatch):
    """Runs a command line in tmp_path: exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        with pytest.raises(SystemExit) as end:
            cli.main([str(argument) for argument in arguments])
        text = capsys.readouterr()
        return SimpleNamespace(code=end.value.code, stdout=text.out, stderr=text.err)

    return call


def start(*arguments, lab, wait=0.0):
    """The command line as a process of its own."""
    environment = os.environ | {
        "PYTHONPATH": str(lab),
        "OMP_NUM_THREADS": "1",
        "TEST_CLI_WAIT": str(wait),
    }
    return subprocess.Popen(
        [sys.executable, "-c", "from sbi_kit.cli import main; main()", *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def one_thread(threads):
    """Lets torch compute in this process as it does in those of `start`."""
    threads(1)


def wait_for(condition, process):
    limit = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


def files(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def table(text, rows):
    """Numbers of a printed table by the name of their row."""
    lines = [line.split() for line in text.splitlines()]
    return {
        line[0]: [float(cell) for cell in line[1:]]
        for line in lines
        if line[:1][0:] and line[0] in rows
    }


def sentence(result, code):
    """The one sentence of a command that did not do its work."""
    assert result.code == code
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


# Names and help


def test_list(run):
    result = run("list")
    assert (result.code, result.stderr) == (0, "")
    owners = dict.fromkeys(POINTS, "my_lab 1.2") | dict.fromkeys(OWN, "sbi_kit 0.1.0")
    header, *lines = result.stdout.splitlines()
    assert header.split() == ["simulator", "distribution"]
    assert [line.split(maxsplit=1) for line in lines] == [[k, owners[k]] for k in sorted(owners)]


def test_list_verbose_shows_what_each_is_and_why_one_is_unusable(run):
    result = run("list", "--verbose")
    assert (result.code, result.stderr) == (0, "")
    blocks = dict.fromkeys(POINTS, "")
    for line in result.stdout.splitlines():
        if not line.startswith(" "):
            name = line.split()[0]
        blocks[name] = f"{blocks.get(name, '')}{line}\n"
    assert blocks["location"] == (
        "location  (my_lab 1.2)\n"
        "  parameters  mu, idle\n"
        "  data        vector: x\n"
        "  observed    packaged\n"
        '  settings    noise=0.5, limit=9.0, span=[0, 1], tag="a"\n'
    )
    assert "  data        set of 5 to 20 observations: count\n" in blocks["counts"]
    assert "  observed    none packaged\n" in blocks["counts"]
    assert "  data        series of 14 observations: in_bed [boys]\n" in blocks["influenza"]
    assert blocks["apples"] == (
        "apples  (my_lab 1.2)\n"
        "  data      labelled, no parameters to infer\n"
        "  features  2: weight, kind\n"
        "  targets   price\n"
        "  settings  noise=1.0\n"
    )
    assert "  features  40: tree_1, tree_2, " in blocks["orchard"]
    assert ", tree_10, ..., tree_40\n" in blocks["orchard"]
    assert "could not be imported (ModuleNotFoundError" in blocks["broken"]
    assert "could not be built with settings {} (OSError: no licence)" in blocks["crash"]


@pytest.mark.parametrize("arguments", [["--help"], ["fit", "--help"], ["--version"], ["list"]])
def test_help_and_names_import_nothing_heavy(lab, arguments):
    code = (
        "import sys\nfrom sbi_kit.cli import main\n"
        f"try:\n    main({arguments})\n"
        "except SystemExit as end:\n    assert end.code == 0\n"
        "print(sorted({'torch', 'arviz', 'pandas', 'scipy', 'xarray', 'test_cli_lab'}"
        " & set(sys.modules)))"
    )
    environment = os.environ | {"PYTHONPATH": str(lab)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def test_help_names_commands_defaults_and_exit_codes(run):
    for arguments in ([], ["--help"]):
        text = run(*arguments).stdout
        for command in ("list", "generate", "simulate", "fit", "sample", "check", "report"):
            assert f"\n  {command} " in text
        assert "130, 143" in text
    assert "200,000 by default" in run("fit", "--help").stdout
    assert "exit code is 0 whatever the verdict" in run("check", "--help").stdout


# Bad input: exit code 2 and one sentence


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("smulate", "No such command 'smulate'; did you mean 'simulate'?"),
        ("fit location", "Missing option '--out'; sbi-kit fit --help shows what is valid."),
        ("fit --out o", "Missing argument 'NAME'; sbi-kit fit --help shows what is valid."),
        ("fit location --out o --epoch 3", "No such option '--epoch'"),
        ("fit location --out o --se 3", "No such option '--se' (did you mean "),
        (
            "fit location --out o --bank b --simulations 3",
            "--simulations and --bank exclude each other; sbi-kit fit --help shows what is valid.",
        ),
        (
            "fit lcation --out o",
            f"Expected the name of a simulator ({NAMES}); got 'lcation'; did you mean 'location'?",
        ),
        (
            "fit location --out o --set nois=1",
            "Expected settings of simulator 'location' among limit, noise, span, tag; got 'nois'; "
            "did you mean 'noise'?",
        ),
        ("fit location --out o --set noise=-1", "noise must be above 0"),
        (
            "fit location --out o --set noise",
            "Expected --set key=value; got 'noise'; write it like --set days=14.",
        ),
        (
            "fit location --out o --summary grru",
            "Expected the name of a summary network (convolution, deep_set, deep_set_twice, gru, "
            "gru_both_ways, gru_twice, identity, lstm, set_transformer, two_way); got 'grru'; did "
            "you mean 'gru'?",
        ),
        (
            "fit location --out o --steps 0",
            "Expected --steps as an integer >= 1; got 0; choose --steps >= 1.",
        ),
        ("fit location --out o --minutes 0", "Expected --minutes as a finite number > 0; got 0"),
        ("fit location --out o --minutes soon", "--minutes as a finite number > 0; got 'soon'"),
        (
            "fit location --out o --online",
            "--online needs --simulations, --minutes or --steps; sbi-kit fit --help shows what is",
        ),
        ("fit location --out o --online --bank b", "--online and --bank exclude each other"),
        (
            "fit location --out o --online --steps 9 --members 2",
            "--online and --members exclude each other",
        ),
        ("fit location --out o --method abc --steps 9", "--steps and --method abc exclude each ot"),
        ("fit location --out o --method abc --online", "--online and --method abc exclude each"),
        ("fit location --out o --quantile .1", "--quantile needs --method abc; sbi-kit fit --help"),
        ("fit location --out o --method mcmc", "'mcmc' is not one of 'npe', 'abc'"),
        (
            "fit location --out o --simulations 1.5",
            "Expected --simulations as an integer >= 1; got '1.5'; pass a whole number as "
            "--simulations.",
        ),
        ("fit location --out o --workers 0", "Expected --workers as an integer >= 1; got 0;"),
        ("fit location --out o --seed -1", "Expected --seed as an integer >= 0; got -1;"),
        ("simulate location --rows 0 --bank b", "Expected --rows as an integer >= 1; got 0;"),
        ("simulate location --rows many --bank b", "got 'many'; pass a whole number as --rows."),
        ("generate apples --rows 5", "Missing option '--out'; sbi-kit generate --help shows what"),
        ("generate apples --rows 0 --out f", "Expected --rows as an integer >= 1; got 0;"),
        ("generate apples --rows 5 --out none/f", "got no directory none; create it first."),
        (
            "generate apple --rows 5 --out f",
            f"name of a simulator or generator ({NAMES}); got 'apple'; did you mean 'apples'?",
        ),
        (
            "generate apples --rows 5 --out f --set nois=1",
            "Expected settings of generator 'apples' among noise; got 'nois'; did you mean 'noise'",
        ),
        (
            "generate location --rows 5 --out f",
            "Expected generator 'location' of distribution my_lab 1.2 to generate labelled data; "
            "got a simulator, whose parameters are to be inferred; load it with load_simulator, or "
            "write its data with sbi-kit simulate.",
        ),
        (
            "simulate apples --rows 5 --bank b",
            "Expected simulator 'apples' of distribution my_lab 1.2 to have parameters to infer; "
            "got a generator of labelled data, which has none; load it with load_generator, or "
            "write its data with sbi-kit generate.",
        ),
        (
            "fit apples --out o --online",
            "--online is not for apples, which generates labelled data;",
        ),
        (
            "fit kryptonite --rows 9 --out o",
            "Expected at least 50 rows to train and to score on; got 9",
        ),
        ("sample o --observed packaged --out n --draws 0", "Expected --draws as an integer >= 1;"),
        ("sample o --observed packaged --out n --draws -1", "got -1; choose --draws >= 1."),
        ("sample o --observed packaged --out n --draws 1.5", "got '1.5'; pass a whole number"),
        ("check o --draws 1", "Expected --draws as an integer >= 2; got 1;"),
        ("check o --datasets 1", "Expected --datasets as an integer >= 2; got 1;"),
        ("check o", "Expected a posterior in o; got no posterior.json;"),
        ("check o --json none/f", "Expected a directory for f; got no directory none;"),
        ("check o --out none/f.nc", "Expected a directory for f.nc; got no directory none;"),
        ("report o --observed packaged", "Missing option '--out'; sbi-kit report --help shows"),
        (
            "report o --observed packaged --out none/f.html",
            "Expected a directory for f.html; got no directory none;",
        ),
        ("report o --observed packaged --out f.html", "Expected a posterior in o; got no post"),
        ("report o --observed d --out f --datasets 1", "--datasets as an integer >= 2; got 1;"),
        ("sample o --observed packaged --out none/f", "got no directory none; create it first."),
        ("fit location --out o --bank b", "Expected a bank with a manifest.jsonl; got none in b;"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(run, tmp_path, arguments, message):
    assert message in sentence(run(*arguments.split()), 2)
    assert list(tmp_path.iterdir()) == []


def test_settings_are_json_or_text():
    pairs = ("a=1", "b=1.5", "c=true", "d=[1, 2]", "e=two words", 'f="1"', "g=", "h=x=y", "i=null")
    assert options.read_settings(pairs) == {
        "a": 1, "b": 1.5, "c": True, "d": [1, 2], "e": "two words", "f": "1", "g": "", "h": "x=y",
        "i": None,
    }  # fmt: skip


# Failures: exit code 1


def test_a_failure_that_explains_itself_is_one_sentence(run, tmp_path):
    place = ("--rows", 9, "--bank", "b")
    text = sentence(run("simulate", "broken", *place), 1)
    assert text.startswith("Simulator 'broken' of distribution my_lab 1.2 could not be imported")
    assert "(OSError: no licence)" in sentence(run("simulate", "crash", *place), 1)
    (tmp_path / "file").write_text("")
    assert sentence(run("simulate", "location", "--rows", 9, "--bank", "file"), 2)
    text = sentence(run("simulate", "location", "--rows", 9, "--bank", "file/b"), 1)
    assert f"The bank in {tmp_path}/file/b could not be written ([Errno 20]" in text


def test_a_failing_simulator_stops_or_is_skipped(run):
    command = ("simulate", "location", "--rows", 300, "--bank", "b", "--set", "limit=1.5")
    text = sentence(run(*command), 1)
    assert "Simulator 'location' failed at row" in text
    assert "ZeroDivisionError: mu is too large" in text
    result = run(*command, "--skip-failures")
    failed = int((Bank.open("b").theta[:, 0] > 1.5).sum())
    assert 5 < failed < 60
    assert f"300 rows of location ({failed} failed, 0 with NaN or inf) in b" in result.stdout


def test_system_errors_and_defects(run, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError(13, "Permission denied", "b/manifest.jsonl")

    def break_(*_, **__):
        raise ZeroDivisionError("a defect")

    monkeypatch.setattr("sbi_kit.registry.load_simulator", refuse)
    text = sentence(run("simulate", "location", "--rows", 9, "--bank", "b"), 1)
    assert text == "The system refused at b/manifest.jsonl: Permission denied."

    def grow(*_, **__):
        raise MemoryError("Unable to allocate 9 TiB")

    monkeypatch.setattr("sbi_kit.registry.load_simulator", grow)
    text = sentence(run("simulate", "location", "--rows", 9, "--bank", "b"), 1)
    assert text == (
        "There is too little memory (Unable to allocate 9 TiB); ask for fewer draws or rows."
    )
    monkeypatch.setattr("sbi_kit.registry.load_simulator", break_)
    with pytest.raises(ZeroDivisionError, match="a defect"):
        cli.main(["simulate", "location", "--rows", "9", "--bank", "b"])


def test_a_defect_shows_its_traceback_and_exits_with_1():
    code = (
        "import sbi_kit.registry as r; r.load_simulator = None; import sbi_kit.cli as c; c.main()"
    )
    command = [sys.executable, "-c", code, "simulate", "x", "--rows", "1", "--bank", "b"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


# generate


def test_generate_writes_the_frame_of_the_same_call_in_python(run, tmp_path):
    command = ("generate", "apples", "--rows", 1_200, "--out", "a.csv", "--set", "noise=2")
    result = run(*command, "--seed", 4)
    assert (result.code, result.stderr) == (0, "")
    pattern = r"1,200 rows of apples \(2 features and price\) in a\.csv after [0-9.]+ s\.\n"
    assert re.fullmatch(pattern, result.stdout)
    frame = load_generator("apples", {"noise": 2}).generate(1_200, np.random.default_rng(4))
    assert frame["weight"].isna().any()
    pd.testing.assert_frame_equal(pd.read_csv("a.csv"), frame, check_exact=True)
    assert (tmp_path / "a.csv").read_bytes().startswith(b"weight,kind,price\n")
    before = files(tmp_path)
    text = sentence(run(*command, "--seed", 5), 2)
    assert text == (
        "Expected a new file; got a.csv, which exists; choose another, or pass --overwrite."
    )
    assert files(tmp_path) == before
    assert run(*command, "--seed", 5, "--overwrite").code == 0
    assert files(tmp_path) != before
    assert run(*command, "--seed", 4, "--overwrite").code == 0
    assert files(tmp_path) == before


def test_a_file_that_cannot_be_written_leaves_what_was_there(run, tmp_path, monkeypatch):
    command = ("generate", "apples", "--rows", 10, "--out", "a.csv")
    assert run(*command).code == 0
    before = files(tmp_path)

    def full(*_):
        raise OSError(28, "No space left on device", "a.csv")

    monkeypatch.setattr(os, "fsync", full)
    text = sentence(run(*command, "--seed", 1, "--overwrite"), 1)
    assert text == "The system refused at a.csv: No space left on device."
    assert files(tmp_path) == before


# simulate


def test_simulate_gives_the_bank_of_the_same_call_in_python(run, lab):
    command = ("simulate", "location", "--bank", "b", "--seed", 4, "--set", "noise=2")
    result = run(*command, "--rows", 500)
    assert result.code == 0
    assert result.stdout.startswith(
        "500 rows of location (0 failed, 0 with NaN or inf) in b after 0."
    )
    assert result.stderr.startswith("simulating: 500/500 rows, ")
    again = run(*command, "--rows", 1_500, "--workers", 2)
    assert again.stdout.startswith("1,500 rows of location (0 failed")
    bank = simulate(load_simulator("location", {"noise": 2}), 1_500, seed=4)
    there = Bank.open("b")
    assert there.simulator == bank.simulator
    np.testing.assert_array_equal(there.theta, bank.theta)
    np.testing.assert_array_equal(
        there.take(slice(None))[1].values, bank.take(slice(None))[1].values
    )
    message = "Expected the bank in b to be of the same call; got seed 4 there and 5 here"
    assert message in sentence(run(*command, "--rows", 9, "--seed", 5), 2)


def test_a_list_becomes_the_tuple_that_a_setting_is(run):
    result = run("simulate", "location", "--rows", 5, "--bank", "b", "--set", "span=[2, 3]")
    assert result.code == 0
    assert Bank.open("b").simulator["settings"]["span"] == [2, 3]
    assert load_simulator("location", {"span": [2, 3]}).span == (2, 3)


# fit


def test_fit_gives_the_posterior_of_the_same_calls_in_python(trained, tmp_path, one_thread):
    assert list(files(trained.path)) == FILES
    bank = simulate(load_simulator("location"), 300, seed=0)
    with pytest.warns(UserWarning, match=ROUGH):
        posterior = fit(bank, seed=0, steps=250, members=1)
    posterior.save(tmp_path / "here")
    assert files(tmp_path / "here").items() < files(trained.path).items()
    verdict = calibrate(posterior, fresh(500, seed=0), draws=500, seed=0)
    assert load(trained.path).certificate.sentence == verdict.sentence


def fresh(rows, seed):
    """The simulations that a check of that seed judges by."""
    return simulate(load_simulator("location"), rows, seed=torch_seed(seed, "check"))


def test_fit_ends_with_table_verdict_times_and_path(trained):
    found = table(trained.stdout.split("Calibration")[0], ("mu", "idle"))
    # The exact posterior given x = 1 is N(.8, .2); `idle` keeps its uniform prior.
    np.testing.assert_allclose(found["mu"], [0.8, 0.447, -0.08, 1.68], atol=0.3)
    np.testing.assert_allclose(found["idle"], [0.5, 0.289, 0.025, 0.975], atol=0.1)
    posterior = load(trained.path)
    fresh = simulate(load_simulator("location"), 500, seed=torch_seed(0, "check"))
    verdict = str(calibrate(posterior, fresh, draws=500, seed=0))
    lines = trained.stdout.splitlines()
    start = next(i for i, line in enumerate(lines) if re.match("parameter +p-value", line))
    expected = verdict.splitlines()
    assert lines[start : start + len(expected)] == expected
    assert lines[0:2] == ["", "Posterior of location given the packaged data"]
    time = r"[0-9]+\.[0-9] s"
    last = f"Simulating {time}, training {time}, checking {time}; the posterior is in "
    assert re.fullmatch(f"{last}{re.escape(str(trained.path))}\\.", lines[-1])
    told = trained.stderr.splitlines()
    # A stage of more than ten seconds tells more than once; the last line of each counts.
    heads = [line.split(":")[0] for line in told]
    after = [*heads[1:], ""]
    reported = [line for line, a, b in zip(told, heads, after, strict=True) if a != b]
    assert reported[0].startswith("simulating: 300/300 rows, ")
    assert reported[1].startswith(ROUGH)
    done = load(trained.path).history["steps_done"]
    assert re.match(rf"training: {done}/{done}, loss [0-9.]+, validation [0-9.]+, ", reported[2])
    assert reported[3].startswith("checking: 500/500 rows, ")
    assert reported[4:] == ["judging: draws, ranks and coverage"]


def test_fit_takes_a_bank_and_leaves_it(run, trained, tmp_path, one_thread):
    assert run("simulate", "location", "--rows", 300, "--bank", "b").code == 0
    before = files(tmp_path / "b")
    other = ("fit", "location", "--out", "o", "--bank", "b")
    text = sentence(run(*other, "--set", "noise=2"), 2)
    assert text.startswith("Expected a bank of 'location' with settings {\"noise\": 2, ")
    assert "got b of 'location' with settings {\"noise\": 0.5, " in text
    result = run(*other, "--steps", 250, "--members", 1)
    assert result.code == 0
    assert files(tmp_path / "b") == before
    assert files(tmp_path / "o") == files(trained.path)


def test_fit_by_rejection_gives_the_posterior_of_the_same_call_in_python(run, tmp_path):
    options = "--simulations 2000 --seed 3 --method abc --quantile .05"
    result = run("fit", "location", "--out", "abc", *options.split())
    assert result.code == 0
    assert "Posterior of location given the packaged data" in result.stdout
    assert "datasets, joint 95 % bands" in " ".join(result.stdout.split())
    assert sorted(path.name for path in Path("abc").iterdir()) == FILES
    bank = simulate(load_simulator("location"), 2_000, seed=3)
    same = fit_abc(bank, quantile=0.05)
    loaded = load("abc")
    np.testing.assert_array_equal(
        *(one.sample([[0.5]], draws=20, seed=1) for one in (loaded, same))
    )
    for command in ("sample", "report"):
        result = run(
            *f"{command} abc --observed packaged --draws 50 --out {command}.x".split(),
            *(["--datasets", "20"] if command == "report" else []),
        )
        assert result.code == 0, result.stderr
    assert run("check", "abc", "--datasets", "100", "--draws", "50").code == 0


def test_fit_online_gives_the_posterior_of_the_same_call_in_python(run, tmp_path, one_thread):
    command = ("fit", "location", "--online", "--steps", 30, "--seed", 3)
    result = run(*command, "--out", "o", "--set", "noise=0.4")
    assert result.code == 0, result.stderr
    assert "Simulating" not in result.stdout
    assert re.search(
        r"\nTraining [0-9.]+ s, checking [0-9.]+ s; the posterior is in o\.", result.stdout
    )
    assert sorted(files(tmp_path / "o")) == FILES
    posterior = fit_online(load_simulator("location", {"noise": 0.4}), seed=3, steps=30)
    found = load("o")
    x = np.array([[1.0]])
    np.testing.assert_array_equal(
        found.sample(x, draws=9, seed=1), posterior.sample(x, draws=9, seed=1)
    )
    limited = run(*command, "--out", "p", "--simulations", 300, "--workers", 2)
    assert limited.code == 0, limited.stderr
    assert sorted(files(tmp_path / "p")) == FILES
    assert load("p").history["simulations"] == 300


def test_minutes_limit_the_training(run, trained):
    few = ("--simulations", 300, "--members", 1)
    done = run("fit", "location", "--out", "o", *few, "--minutes", 0.02)
    assert done.code == 0, done.stderr
    assert load("o").history["seconds"] == pytest.approx(1.2)
    assert 1 <= load("o").history["steps_done"] < 6_000


def test_fit_without_packaged_data_and_by_default_size(run, monkeypatch):
    monkeypatch.setattr(cli, "DEFAULT_SIMULATIONS", 200)
    monkeypatch.setattr(cli, "_DATASETS", 100)
    result = run("fit", "counts", "--out", "o", "--steps", 10, "--summary", "deep_set")
    assert result.code == 0
    assert "Posterior" not in result.stdout
    assert result.stdout.startswith("\nCalibration, by 100 fresh simulations\n\nparameter ")
    assert load("o").history["simulations"] == 200
    result = sentence(run("fit", "counts", "--out", "o"), 2)
    assert result == (
        "Expected a directory without a posterior; got o, which holds one; choose another, or pass "
        "overwrite=True (--overwrite)."
    )
    (Path("p")).mkdir()
    (Path("p") / "notes.txt").write_text("mine")
    assert "got p with notes.txt in it" in sentence(run("fit", "counts", "--out", "p"), 2)
    result = run("fit", "counts", "--out", "o", "--overwrite", "--steps", 10, "--seed", 2)
    assert result.code == 0
    assert load("o").history["seed"] == 2


def test_too_few_simulations_are_refused(run):
    result = run("fit", "location", "--out", "o", "--simulations", 20)
    assert result.code == 2
    message = "Expected 50 usable simulations at least, to train on some and validate on others"
    assert result.stderr.splitlines()[-1].startswith(message)


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_fit_killed_twice_equals_fit_uninterrupted(run, lab, tmp_path, one_thread):
    few = "--simulations", "2000", "--steps", "108", "--members", "2"
    killed, whole = (
        ("fit", "location", "--out", str(tmp_path / name), *few) for name in ("killed", "whole")
    )
    bank = tmp_path / "killed" / ".bank"
    process = start(*killed, lab=lab, wait=0.2)
    manifest = bank / "manifest.jsonl"
    wait_for(lambda: manifest.exists() and manifest.read_bytes().count(b"\n") == 2, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert len(Bank.open(bank)) == 1_000
    process = start(*killed, lab=lab)
    checkpoint = tmp_path / "killed" / "checkpoint.safetensors"
    wait_for(checkpoint.exists, process)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert sorted(path.name for path in (tmp_path / "killed").iterdir()) == [
        ".bank",
        "checkpoint.safetensors",
    ]
    process = start(*killed, lab=lab)
    resumed, at_once = process.communicate()[0], run(*whole)
    assert (process.returncode, at_once.code) == (0, 0)
    assert resumed.split("Simulating")[0] == at_once.stdout.split("Simulating")[0]
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
    assert sorted(files(tmp_path / "whole")) == FILES


def test_fit_stopped_while_checking_goes_on(run, monkeypatch, tmp_path):
    monkeypatch.setattr(cli, "_DATASETS", 100)
    command = ("fit", "location", "--out", "o", "--simulations", 100, "--steps", 4)
    with monkeypatch.context() as patch:

        def stop(*_, **__):
            os.kill(os.getpid(), signal.SIGTERM)

        patch.setattr("sbi_kit.diagnostics.calibration.calibrate", stop)
        assert run(*command).code == 143
    folder = tmp_path / "o"
    there = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert sorted(there) == ["checkpoint.safetensors", *FILES[1:]]
    assert len(Bank.open(folder / ".bank")) == 100
    assert run(*command).code == 0
    del there["checkpoint.safetensors"]
    assert files(folder).items() >= there.items()
    assert sorted(files(folder)) == FILES


def test_another_run_does_not_take_the_checkpoint_that_is_there(run, monkeypatch, tmp_path):
    command = ("fit", "location", "--out", "o", "--simulations", 100, "--steps")
    with monkeypatch.context() as patch:
        patch.setattr("sbi_kit.neural.NeuralPosterior.save", lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(*command, 1)
    result = run(*command, 2)
    assert result.code == 2
    assert "Expected the checkpoint of this very run; got o/checkpoint" in result.stderr
    assert not (tmp_path / "o" / "posterior.json").exists()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopping_is_one_sentence_and_the_same_command_goes_on(lab, tmp_path, number, code):
    command = ("simulate", "location", "--rows", "2000", "--bank", str(tmp_path / "b"))
    process = start(*command, "--workers", "1", lab=lab, wait=0.1)
    wait_for((tmp_path / "b" / "manifest.jsonl").exists, process)
    process.send_signal(number)
    out, err = process.communicate()
    assert (process.returncode, out) == (code, "")
    assert err == (
        f"Stopped by {number.name}; what is on disk is whole, and the same command goes on from "
        "there.\n"
    )
    process = start(*command, lab=lab)
    assert process.communicate()[0].startswith("2,000 rows of location (0 failed, ")
    whole = simulate(load_simulator("location"), 2_000, seed=0, path=tmp_path / "whole")
    assert files(tmp_path / "b") == files(whole.path)


# sample


def test_sample_packaged_gives_the_inference_of_the_same_call_in_python(run, trained):
    result = run("sample", trained.path, "--observed", "packaged", "--out", "f.nc", "--seed", 7)
    assert (result.code, result.stderr) == (0, "")
    idata = read_netcdf("f.nc")
    expected = load(trained.path).infer([1.0], draws=4_000, seed=7)
    for group in ("posterior", "prior", "posterior_predictive", "sample_stats", "observed_data"):
        for name, values in expected[group].data_vars.items():
            np.testing.assert_array_equal(idata[group][name].values, values.values)
    mu = expected["posterior"]["mu"].values
    found = table(result.stdout, ("mu", "idle"))["mu"]
    exact = [mu.mean(), mu.std(ddof=1), *np.quantile(mu, [0.025, 0.975])]
    np.testing.assert_allclose(found, exact, atol=0.006)
    assert result.stdout.splitlines()[0].split() == ["parameter", "mean", "sd", "2.5%", "97.5%"]
    assert "\n4,000 draws are in f.nc after " in result.stdout
    assert f"\n{load(trained.path).certificate}\n" in result.stdout
    assert idata["posterior"].attrs["calibration"] == str(load(trained.path).certificate)


def test_the_table_of_fit_is_that_of_sample(run, trained):
    result = run("sample", trained.path, "--observed", "packaged", "--out", "f.nc")
    both = [table(text, ("mu", "idle")) for text in (result.stdout, trained.stdout.split("Cal")[0])]
    for name in both[0]:
        np.testing.assert_allclose(both[0][name], both[1][name], atol=0.011)


def test_sample_reads_each_row_of_a_csv_as_a_vector(run, trained):
    pd.DataFrame({"day": ["a", "b"], "x": [-1.0, 1.0]}).to_csv("two.csv")
    result = run("sample", trained.path, "--observed", "two.csv", "--out", "f.nc", "--draws", 900)
    assert result.code == 0
    means = table(result.stdout, ("mu[0]", "mu[1]", "idle[0]", "idle[1]"))
    assert len(means) == 4
    np.testing.assert_allclose(means["mu[0]"][0], -0.8, atol=0.25)
    np.testing.assert_allclose(means["mu[1]"][0], 0.8, atol=0.25)
    assert read_netcdf("f.nc")["posterior"]["mu"].shape == (1, 900, 2)


def test_sample_overwrites_only_when_asked(run, trained, tmp_path):
    (tmp_path / "f.nc").write_text("precious")
    command = ("sample", trained.path, "--observed", "packaged", "--out", "f.nc", "--draws", 9)
    assert sentence(run(*command), 2) == (
        "Expected a new file; got f.nc, which exists; choose another, or pass --overwrite."
    )
    assert (tmp_path / "f.nc").read_text() == "precious"
    assert run(*command, "--overwrite").code == 0
    assert read_netcdf("f.nc")["posterior"]["mu"].shape == (1, 9)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "d.csv, which cannot be read (No such file or directory); check the path"),
        ("", "d.csv, which cannot be read (No columns to parse from file)"),
        ("x\n", "Expected data of shape (b, 1) or in a form that names the columns"),
        ("X\n1\n", "Expected the columns x; got only X; "),
        ("x\n1\n\n2\nNA\n", "without NaN or inf; got nan at row"),
        ("x,note\n9,1,a\n9,2,b\n", "for every column; got 3 values under 2 names in d.csv; name"),
        ("x\n1\nmany\n", "Expected numbers in column 'x'; got 'many' at row 1;"),
    ],
)
def test_sample_refuses_data_it_cannot_use(run, trained, tmp_path, text, message):
    if text is not None:
        (tmp_path / "d.csv").write_text(text)
    result = run("sample", trained.path, "--observed", "d.csv", "--out", "f.nc")
    assert message in sentence(result, 2)
    assert not (tmp_path / "f.nc").exists()


def test_sample_warns_in_coloured_sentences(run, lab, tmp_path):
    model = load_simulator("counts")
    with pytest.warns(UserWarning, match=ROUGH):
        posterior = fit(simulate(model, 300, seed=1), seed=1, steps=10)
    posterior.save("c")
    pd.DataFrame({"count": [10_000.0] * 40}).to_csv("far.csv")
    result = run("sample", "c", "--observed", "far.csv", "--out", "f.nc", "--draws", 50)
    assert result.code == 0
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("Dataset 0 has 40 observations, and the posterior was trained on 5")
    assert lines[1].startswith("Dataset 0 is unlike everything simulated (misspecification score")
    text = sentence(run("sample", "c", "--observed", "packaged", "--out", "g.nc"), 2)
    assert text == "Expected data packaged with 'counts'; got none; pass a CSV file as --observed."


# check


def test_check_writes_the_verdict_of_the_same_call_in_python(run, trained, tmp_path):
    load(trained.path).save("copy")
    command = ("check", "copy", "--datasets", 120, "--draws", 90, "--seed", 5)
    result = run(*command, "--json", "v.json")
    assert result.code == 0
    verdict = calibrate(load(trained.path), fresh(120, seed=5), draws=90, seed=5)
    assert result.stdout == f"{verdict}\n"
    assert json.loads((tmp_path / "v.json").read_text()) == json.loads(
        json.dumps(verdict.to_dict())
    )
    assert run(*command, "--json", "v.json").code == 0
    certificate = load("copy").certificate
    assert (certificate.datasets, certificate.draws, certificate.seed) == (120, 90, 5)
    assert certificate.sentence == verdict.sentence


def test_check_writes_what_arviz_reads(run, trained, tmp_path):
    load(trained.path).save("copy")
    command = ("check", "copy", "--datasets", 12, "--draws", 30, "--seed", 5, "--out", "v.nc")
    assert run(*command).code == 0
    verdict = calibrate(load(trained.path), fresh(12, seed=5), draws=30, seed=5)
    read = read_netcdf(tmp_path / "v.nc")
    for i, name in enumerate(verdict.names):
        np.testing.assert_array_equal(read["prior"][name].values[0], verdict.truth[:, i])
        ranks = read["recovery"]["rank"].sel(parameter=name).values[0]
        np.testing.assert_array_equal(ranks, verdict.ranks[:, i])
    (tmp_path / "copy" / "certificate.json").unlink()
    text = sentence(run(*command), 2)
    assert (
        text == "Expected a new file; got v.nc, which exists; choose another, or pass --overwrite."
    )
    assert not (tmp_path / "copy" / "certificate.json").exists()
    assert run(*command, "--overwrite").code == 0


def test_sample_says_what_was_never_checked_or_is_checked_no_more(run, trained, tmp_path):
    load(trained.path).save("copy")
    (tmp_path / "copy" / "certificate.json").unlink()
    command = ("sample", "copy", "--observed", "packaged", "--draws", 50, "--out")
    never = "\nNever checked: run sbi-kit check copy, or sk.calibrate and sk.certify.\n"
    result = run(*command, "a.nc")
    assert never in result.stdout
    assert result.stderr == ""
    (tmp_path / "copy" / "certificate.json").write_text("{}")
    result = run(*command, "b.nc")
    assert never in result.stdout
    assert result.stderr == (
        "Expected copy/certificate.json to describe a certificate of sbi_kit; got something else; "
        "run sbi-kit check copy to judge the posterior again.\n"
    )


def test_check_exits_with_0_whatever_the_verdict(run, trained, tmp_path):
    posterior = load(trained.path)
    wide = posterior.encoder.network.flow.projection.bias
    wide += 1.0
    posterior.save("wrong")
    result = run("check", "wrong", "--json", "v.json")
    assert result.code == 0
    assert "Miscalibrated (500 datasets" in result.stdout
    assert json.loads((tmp_path / "v.json").read_text())["passed"] is False
    shown = run("sample", "wrong", "--observed", "packaged", "--out", "f.nc", "--draws", 50).stdout
    assert f"\nChecked {load('wrong').certificate.date}: MISCALIBRATED (500 datasets" in shown


def test_check_needs_the_very_simulator(run, trained, tmp_path, monkeypatch):
    changed = load(trained.path)
    object.__setattr__(changed, "simulator", {"name": "locatoin", "settings": {}})
    changed.save("renamed")
    assert "got 'locatoin'; did you mean 'location'?" in sentence(run("check", "renamed"), 2)
    object.__setattr__(changed, "simulator", {"name": "location", "settings": None})
    changed.save("unknown")
    assert "got no record of its settings" in sentence(run("check", "unknown"), 2)
    object.__setattr__(changed, "simulator", {"name": "counts", "settings": {}})
    changed.save("other")
    assert sentence(run("check", "other"), 2) == (
        "Expected the simulator 'counts' as this posterior was trained with it; got another of "
        "that name; install the distribution it came from."
    )


# report


@pytest.fixture
def no_figures(monkeypatch):
    """Figures that cost nothing."""
    monkeypatch.setattr("sbi_kit.plots.to_webp", lambda figure, dpi: b"")


def test_report_has_the_table_and_the_verdict_of_the_other_commands(
    run, trained, tmp_path, no_figures
):
    command = ("report", trained.path, "--observed", "packaged", "--datasets", 30, "--seed", 5)
    before = files(trained.path)
    result = run(*command, "--out", "r.html")
    assert result.code == 0
    assert re.fullmatch(r"The report is in r\.html after [0-9.]+ s\.\n", result.stdout)
    assert "\nwriting: 10/10 sections\n" in result.stderr
    assert files(trained.path) == before
    page = (tmp_path / "r.html").read_text().replace("\N{NO-BREAK SPACE}", " ")
    verdict = calibrate(load(trained.path), fresh(30, seed=5), draws=500, seed=5)
    assert page.count(verdict.sentence) == 2
    printed = run("sample", trained.path, "--observed", "packaged", "--seed", 5, "--out", "s.nc")
    for name, cells in table(printed.stdout, ("mu", "idle")).items():
        row = re.search(rf">{name}</th>(.*?)</tr>", page, flags=re.DOTALL).group(1)
        assert [float(cell) for cell in re.findall(r"<td>(.*?)</td>", row)] == cells
    text = sentence(run(*command, "--out", "r.html"), 2)
    assert text.startswith("Expected a new file; got r.html, which exists; choose another, or")
    assert run(*command, "--out", "r.html", "--overwrite").code == 0


def test_report_without_the_simulator(run, trained, tmp_path, no_figures):
    away = load(trained.path)
    object.__setattr__(away, "simulator", {"name": "away", "settings": {}})
    away.save("away")
    (tmp_path / "d.csv").write_text("x\n1.0\n")
    assert "got 'away'" in sentence(
        run("report", "away", "--observed", "packaged", "--out", "r.html"), 2
    )
    result = run("report", "away", "--observed", "d.csv", "--out", "r.html", "--draws", 100)
    assert result.code == 0
    assert result.stderr.startswith("The simulator 'away' is not installed here, or differs (")
    assert "checking" not in result.stderr
    (tmp_path / "d.csv").write_text("y\n1.0\n")
    text = sentence(run("report", trained.path, "--observed", "d.csv", "--out", "q.html"), 2)
    assert text.startswith("Expected the columns x; got only y;")
    assert not (tmp_path / "q.html").exists()


# What is shown


def test_plain_progress_comes_now_and_then(run, monkeypatch):
    monkeypatch.setattr(console, "_EVERY", 0.0)
    result = run("simulate", "location", "--rows", 1_000, "--bank", "b")
    lines = result.stderr.splitlines()
    assert [line.split(",")[0] for line in lines[:2]] == [
        "simulating: 0/1",
        "simulating: 250/1",
    ]
    assert lines[1].endswith("s left")
    assert lines[-1].startswith("simulating: 1,000/1,000 rows, ")
    assert len(lines) == 5


def test_bars_on_a_terminal(monkeypatch, capsys):
    file = StringIO()
    terminal = Console(file=file, force_terminal=True, width=80, height=20, highlight=False)
    monkeypatch.setattr(console, "err", terminal)
    with console.training_progress("training") as report:
        nan, inf = float("nan"), float("inf")
        report(Report(0, 9_375, nan, nan, 0.0, inf))
        report(Report(7_200, 9_375, -2.2881, -2.2, 312.3, 6.96))
    with console.training_progress("training") as report:
        report(Report(40, 900, -1.5, nan, 100.0, 8.6, member=1, members=5))
    frames = file.getvalue()
    assert "7,200/9,375  loss -2.288  validation -2.200  312/s  7 s left" in frames
    assert "member 2/5  40/900  loss -1.500  100/s  9 s left" in frames
    assert "…" not in frames
    console.remark("A warning\n  of two lines.", "yellow")
    assert "\x1b[33mA warning of two lines.\x1b[0m" in file.getvalue()


def test_the_first_step_is_no_measure_of_the_others(monkeypatch):
    said = []
    monkeypatch.setattr(
        console, "progress", lambda _: nullcontext(lambda *now: said.append(now[2]))
    )
    with console.training_progress("training") as report:
        report(Report(1, 6_000, 4.1, float("nan"), 0.059, 101_683.0))
        report(Report(20, 6_000, 3.5, 3.25, 0.5, 11_960.0))
    assert said[0] == ["1/6,000", "loss 4.100"]
    assert said[1][-2:] == ["0.5/s", "3:19:20 h left"]


def test_a_warning_is_shown_once(capsys):
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = console.show_warnings()
        for _ in range(2):
            warnings.warn("Too few.", UserWarning, stacklevel=1)
        warnings.warn("overflow", RuntimeWarning, stacklevel=1)
    assert capsys.readouterr().err == "Too few.\nRuntimeWarning: overflow\n"


def test_digits_follow_the_sd(capsys):
    frame = pd.DataFrame(
        {
            "mean": [1.73649, 1234567.8, 3e-12, 0.5, 5e8, 99.96],
            "sd": [0.05432, 1234.5, 1e-12, 0.0, 1e6, 9.96],
        },
        index=["a", "b", "c", "d", "e", "f"],
    )
    console.show_summary(frame)
    rows = [line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [
        ["1.736", "0.054"],
        ["1,234,568", "1,234"],
        ["3e-12", "1e-12"],
        ["0.5", "0"],
        ["5e+08", "1e+06"],
        ["100.0", "10.0"],
    ]
    console.show_summary(pd.concat([frame] * 6))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 32
    assert lines[-1] == "and 6 rows more"


# The main job


def test_influenza_from_nothing_to_the_table(run, tmp_path):
    command = ("fit", "influenza", "--out", "flu", "--simulations", 500, "--steps", 200)
    result = run(*command, "--seed", 1, "--set", "population=763")
    assert result.code == 0
    found = table(result.stdout.split("Calibration")[0], ("beta", "gamma", "phi_inv"))
    # Published: 1.736 (.054) and .540 (.046); five hundred simulations come near.
    np.testing.assert_allclose(found["beta"][0], 1.736, atol=0.4)
    np.testing.assert_allclose(found["gamma"][0], 0.540, atol=0.25)
    for mean, sd, low, high in found.values():
        assert 0 <= low < mean < high  # low may round to zero
        assert sd > 0
    assert "log score " in result.stdout
    packaged = Path(cli.__file__).parents[1] / "simulators" / "data" / "influenza_1978.csv"
    result = run("sample", "flu", "--observed", packaged, "--out", "flu.nc", "--draws", 200)
    assert result.code == 0
    idata = read_netcdf("flu.nc")
    assert idata["posterior_predictive"]["in_bed"].shape == (1, 200, 14)
    assert idata["observed_data"]["in_bed"].values[5] == 298


# Known context


def test_context_is_given_by_name(run, monkeypatch):
    judged = []

    def watched(posterior, bank, **settings):
        judged.append(bank.context)
        return calibrate(posterior, bank, **settings)

    monkeypatch.setattr(calibration, "calibrate", watched)
    rows = ("--simulations", 300, "--steps", 10)
    shared = run("fit", "stimulus", "--out", "o", *rows, "--context", "strength=1.5")
    assert shared.code == 0, shared.stderr
    assert load("o").history["context"] == {"strength": [1.5, 1.5]}
    assert set(judged[0][:, 0]) == {1.5}  # the fresh simulations share it
    pd.DataFrame({"x": [1.0], "y": [np.nan]}).to_csv("one.csv")
    command = ("sample", "o", "--observed", "one.csv", "--draws", 9)
    assert "the context 'strength', which the layout declares" in sentence(
        run(*command, "--out", "a.nc"), 2
    )
    assert run(*command, "--out", "a.nc", "--context", "strength=1.5").code == 0
    assert float(read_netcdf("a.nc")["constant_data"]["strength"]) == 1.5
    other = run(*command, "--out", "b.nc", "--context", "strength=1.9")
    assert "has strength = 1.9, and the posterior was trained on 1.5 to 1.5" in other.stderr


def test_context_of_a_bank(run):
    command = ("simulate", "stimulus", "--rows", 60, "--bank", "b", "--context")
    assert run(*command, "strength=1").code == 0
    assert set(Bank.open("b").context[:, 0]) == {1}
    assert "context strength 1.0 there and 2.0 here" in sentence(run(*command, "strength=2"), 2)
    assert "Expected --context key=value; got 'strength'" in sentence(run(*command, "strength"), 2)
    message = sentence(run(*command, "strength=high"), 2)
    assert "context 'strength' as a finite number; got 'high'" in message
    both = ("fit", "stimulus", "--out", "o", "--bank", "b", "--context", "strength=1")
    assert "--context and --bank exclude each other" in run(*both).stderr


def test_list_verbose_shows_context_and_what_may_be_missing(run):
    text = run("list", "--verbose").stdout
    assert "  data            vector: x, y\n  context         strength\n" in text
    assert "  may be missing  y\n" in text
