import subprocess
import sys

import numpy as np
import pytest

from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.data import Exchangeable, Series, Vector
from sbi_kit.prior import Prior, Uniform
from sbi_kit.registry import (
    PluginError,
    expect_generator,
    expect_simulator,
    is_generator,
    load_any,
    load_generator,
    load_simulator,
    registered_name,
    simulator_names,
)
from sbi_kit.simulation import simulate
from sbi_kit.simulator import Simulator, describe

CODE = """
import pandas as pd

from sbi_kit.data import Exchangeable
from sbi_kit.prior import Prior, Uniform

PRIOR = Prior(rate=Uniform(0.1, 2))
DATA = Exchangeable(columns=("count",), n=(2, 5))

class Decay:
    prior, data = PRIOR, DATA

    def __init__(self, days=14, span=(1.5, 2), *, noise=1.0):
        if noise < 0:
            raise ValueError("noise must not be negative.")
        if noise == 0:
            raise OSError("no licence")
        self.days, self.span, self.noise = days, span, noise

    def simulate(self, theta, rng, n):
        return self.days + self.noise * rng.random((len(theta), n, 1))

class Needy(Decay):
    def __init__(self, table, days=3):
        super().__init__(days)
        self.table = table

class Open(Decay):
    def __init__(self, **settings):
        super().__init__(**settings)

class Half:
    prior = PRIOR

class Called(Decay):
    def __call__(self):
        raise AssertionError

class Flips:
    features, targets = ("weight",), ("heads",)

    def __init__(self, bias=0.5, span=(0, 1)):
        if not 0 <= bias <= 1:
            raise ValueError("bias must be a probability")
        if bias == 1:
            raise OSError("no licence")
        self.bias, self.span = bias, span

    def generate(self, rows, rng):
        weight = rng.random(rows)
        return pd.DataFrame({"weight": weight, "heads": rng.random(rows) < self.bias})

class CalledFlips(Flips):
    def __call__(self):
        raise AssertionError

class HalfFlips:
    features = ("weight",)
    generate = 3

class MuteFlips(HalfFlips):
    targets = ("heads",)

class Both(Flips, Decay):
    def __init__(self):
        Flips.__init__(self)
        Decay.__init__(self)

flips = CalledFlips(bias=0.75)

def make_decay(days=30):
    return Decay(days=days)

finished = Decay(days=99)
called = Called(days=98)
number = 3
"""


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Installs a distribution with entry points as pip would, in a directory on sys.path."""
    monkeypatch.syspath_prepend(tmp_path)

    def add(points, distribution="my_lab", module=None):
        info = tmp_path / f"{distribution}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(
            f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n"
        )
        lines = "".join(f"{name} = {target}\n" for name, target in points.items())
        (info / "entry_points.txt").write_text(f"[sbi_kit.simulators]\n{lines}")
        if module:
            (tmp_path / f"{module}.py").write_text(CODE)

    yield add
    for name in [name for name in sys.modules if name.startswith("lab_")]:
        del sys.modules[name]


def test_names_without_importing(install):
    before = simulator_names()
    install({"zdecay": "lab_a:Decay", "abroken": "lab_none:Nothing"})
    assert simulator_names() == tuple(sorted([*before, "zdecay", "abroken"]))
    assert "lab_a" not in sys.modules
    code = (
        "import sys; from sbi_kit.registry import simulator_names as s; print(s());"
        "sys.exit(any(m.split('.')[0] in ('simulators', 'torch', 'loky', 'scipy.stats')"
        " for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'influenza'" in done.stdout


def test_a_class_a_factory_and_an_object(install):
    install(
        {
            "decay": "lab_b:Decay",
            "made": "lab_b:make_decay",
            "finished": "lab_b:finished",
            "called": "lab_b:called",
        },
        module="lab_b",
    )
    assert load_simulator("decay").days == 14
    assert load_simulator("decay", {"days": 7, "noise": 0.5}).days == 7
    assert load_simulator("made").days == 30
    assert load_simulator("made", {"days": 31}).days == 31
    assert load_simulator("finished").days == 99
    assert load_simulator("called").days == 98
    assert load_simulator("finished") is load_simulator("finished")
    bank = simulate(load_simulator("decay", {"days": 100}), 5, seed=1)
    assert np.all((bank.flat(slice(None))[0] // 1) == 100)
    assert bank.simulator == {
        "name": "decay",
        "settings": {"days": 100, "span": [1.5, 2], "noise": 1.0},
    }
    again = load_simulator(bank.simulator["name"], bank.simulator["settings"])
    assert (again.days, again.noise) == (100, 1.0)


def test_misspelt_name(install):
    install({"decay": "lab_c:Decay"}, module="lab_c")
    message = r"name of a simulator \(.*decay.*influenza.*\); got 'decai'; did you mean 'decay'\?"
    with pytest.raises(UnknownName, match=message):
        load_simulator("decai")
    with pytest.raises(UnknownName, match="choose one of those listed"):
        load_simulator("Qqqq")


@pytest.mark.parametrize(
    ("name", "settings", "error", "message"),
    [
        (
            "decay",
            {"dais": 3},
            BadValue,
            "settings of simulator 'decay' among days, noise, span; got 'dais'; did you mean 'days",
        ),
        ("decay", {"colour": 3}, BadValue, "got 'colour'; leave out 'colour'"),
        ("decay", [("days", 3)], BadType, r"settings as a mapping .* got \[\('days', 3\)\]"),
        ("decay", {3: 3}, BadType, r"settings as a mapping .* got \{3: 3\}"),
        (
            "decay",
            {"noise": -1},
            BadValue,
            r"'decay' accepts; got \{'noise': -1\}; its constructor says ValueError: noise must "
            r"not be negative\.$",
        ),
        ("decay", {"noise": "x"}, BadValue, "its constructor says TypeError"),
        ("open", {"dais": 3}, BadValue, "says TypeError: .*'dais'"),
        (
            "needy",
            {},
            BadValue,
            "values for the settings table of simulator 'needy'; got none for ta",
        ),
        (
            "finished",
            {"days": 3},
            BadValue,
            "settings of simulator 'finished' among none; got 'days'",
        ),
    ],
)
def test_bad_settings(install, name, settings, error, message):
    targets = {"decay": "Decay", "open": "Open", "needy": "Needy", "finished": "finished"}
    install({key: f"lab_d:{target}" for key, target in targets.items()}, module="lab_d")
    with pytest.raises(error, match=message):
        load_simulator(name, settings)


def test_broken_plugins(install, tmp_path):
    install(
        {"gone": "lab_gone:X", "less": "lab_e:Missing", "bad": "lab_bad:X", "paid": "lab_e:Decay"},
        module="lab_e",
    )
    (tmp_path / "lab_bad.py").write_text("raise RuntimeError('no GPU.')")
    message = (
        r"^Simulator 'gone' of distribution my_lab 1\.2 could not be imported "
        r"\(ModuleNotFoundError: No module named 'lab_gone'\); repair or reinstall that distr"
    )
    with pytest.raises(PluginError, match=message) as caught:
        load_simulator("gone")
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)
    with pytest.raises(PluginError, match=r"'less' of .* \(AttributeError: .*'Missing'\)"):
        load_simulator("less")
    with pytest.raises(PluginError, match=r"'bad' of .* \(RuntimeError: no GPU\); repair"):
        load_simulator("bad")
    message = r"could not be built with settings \{'noise': 0\} \(OSError: no licence\)"
    with pytest.raises(PluginError, match=message):
        load_simulator("paid", {"noise": 0})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("Half", "to have prior, data and simulate; got Half without data and simulate; add data"),
        ("number", "got int without prior and data and simulate"),
    ],
)
def test_what_is_loaded_is_a_simulator(install, target, message):
    install({"half": f"lab_f:{target}"}, module="lab_f")
    with pytest.raises(BadType, match="simulator 'half' of distribution my_lab 1.2.*" + message):
        load_simulator("half")


GENERATORS = {
    "decay": "lab_j:Decay",
    "flips": "lab_j:Flips",
    "fair": "lab_j:flips",
    "half": "lab_j:HalfFlips",
    "mute": "lab_j:MuteFlips",
    "both": "lab_j:Both",
    "gone": "lab_gone:X",
}


def test_generators_are_loaded_as_simulators_are(install):
    install(GENERATORS, module="lab_j")
    model = load_generator("flips", {"bias": 0.25, "span": [2, 3]})
    assert (model.bias, model.span) == (0.25, (2, 3))
    assert load_generator("flips").bias == 0.5
    assert load_generator("fair").bias == 0.75
    assert describe(model) == {"name": "flips", "settings": {"bias": 0.25, "span": [2, 3]}}


def test_what_is_both_is_loaded_as_either(install):
    install(GENERATORS, module="lab_j")
    assert load_simulator("both").prior is load_generator("both").prior
    assert not is_generator(load_any("both"))
    assert is_generator(load_any("flips"))
    assert load_any("decay").days == 14


@pytest.mark.parametrize(
    ("load", "name", "settings", "error", "message"),
    [
        (
            load_simulator,
            "flips",
            {},
            BadType,
            r"^Expected simulator 'flips' of distribution my_lab 1\.2 to have parameters to infer; "
            "got a generator of labelled data, which has none; load it with load_generator, or "
            r"write its data with sbi-kit generate\.$",
        ),
        (
            load_generator,
            "decay",
            {},
            BadType,
            r"^Expected generator 'decay' of distribution my_lab 1\.2 to generate labelled data; "
            "got a simulator, whose parameters are to be inferred; load it with load_simulator, or "
            r"write its data with sbi-kit simulate\.$",
        ),
        (
            load_generator,
            "flip",
            {},
            UnknownName,
            r"name of a simulator or generator \(.*fair, flips.*\); got 'flip'; did you mean 'fl",
        ),
        (
            load_generator,
            "flips",
            {"bia": 1},
            BadValue,
            "settings of generator 'flips' among bias, span; got 'bia'; did you mean 'bias'",
        ),
        (
            load_generator,
            "flips",
            {"bias": 2},
            BadValue,
            "settings that generator 'flips' accepts; got .*says ValueError: bias must be a prob",
        ),
        (load_generator, "fair", {"bias": 0}, BadValue, "of generator 'fair' among none"),
        (load_generator, "flips", {"bias": 1}, PluginError, "^Generator 'flips' of .*no licence"),
        (load_generator, "gone", {}, PluginError, "^Generator 'gone' of .* could not be imported"),
        (load_generator, "flips", [], BadType, "settings as a mapping"),
        (
            load_generator,
            "half",
            {},
            BadType,
            "'half' of .* features, targets and generate; got HalfFlips without targets; add targ",
        ),
        (load_generator, "mute", {}, BadType, r"got int; define generate\(rows, rng\)"),
    ],
)
def test_generators_that_cannot_be_loaded(install, load, name, settings, error, message):
    install(GENERATORS, module="lab_j")
    with pytest.raises(error, match=message):
        load(name, settings)


def test_two_distributions_with_one_name(install):
    install({"decay": "lab_g:Decay", "same": "lab_g:Decay"}, module="lab_g")
    install({"decay": "lab_g:Needy", "same": "lab_g:Decay"}, distribution="their_lab")
    assert simulator_names().count("decay") == 1
    message = (
        r"one distribution to offer simulator 'decay'; got distribution my_lab 1\.2 and "
        r"distribution their_lab 1\.2; uninstall all but one"
    )
    with pytest.raises(BadValue, match=message):
        load_simulator("decay")
    assert load_simulator("same").days == 14


def test_installed_later_is_found(install):
    install({"first": "lab_h:Decay"}, module="lab_h")
    assert "second" not in simulator_names()
    install({"second": "lab_h:make_decay"}, distribution="second")
    assert load_simulator("second").days == 30


def test_registered_name(install):
    install({"decay": "lab_i:Decay [extra]", "made": "lab_i:make_decay"}, module="lab_i")
    model = load_simulator("made")
    assert registered_name(type(model)) == "decay"
    assert registered_name(Simulator) is None


# What a file records of a simulator


class Kept:
    prior = Prior(a=Uniform(0, 1))
    data = Exchangeable(columns=("x",), n=3)

    def __init__(self, size=3, names=("a", ("b", 1)), table=None):
        self.size, self.names, self.table = size, names, table

    def simulate(self, theta, rng, n):
        return rng.random((len(theta), n, 1))


class Lost(Kept):
    def __init__(self, size=3, other=4):
        super().__init__(size)


class Named(Kept):
    name = "my model"

    def __init__(self):
        super().__init__()


class Positional(Kept):
    def __init__(self, *sizes):
        super().__init__()


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            Kept(size=np.int64(3)),
            {"name": "Kept", "settings": {"size": 3, "names": ["a", ["b", 1]], "table": None}},
        ),
        (Kept(table=np.zeros(3)), {"name": "Kept", "settings": None}),
        (Kept(size=float("nan")), {"name": "Kept", "settings": None}),
        (Lost(), {"name": "Lost", "settings": None}),
        (Named(), {"name": "my model", "settings": {}}),
        (Positional(3), {"name": "Positional", "settings": None}),
        (
            Simulator(name="f", prior=Kept.prior, data=Kept.data, simulate=max),
            {"name": "f", "settings": None},
        ),
        (
            Simulator(name="f", prior=Kept.prior, data=Kept.data, simulate=max, units={"a": "1/s"}),
            {"name": "f", "settings": None, "units": {"a": "1/s"}},
        ),
    ],
)
def test_describe(model, expected):
    assert describe(model) == expected


@pytest.mark.parametrize(
    ("units", "error", "message"),
    [
        ({"b": "1/s"}, UnknownName, r"column or context of simulator .f. \(a, x\); got .b.; "),
        ({"a": 3}, BadType, r"units of simulator 'f' as a mapping from names to texts; got \{"),
        (["1/s"], BadType, r"got \['1/s'\]; write it like"),
    ],
)
def test_units_are_of_what_a_simulator_has(units, error, message):
    with pytest.raises(error, match=message):
        Simulator(name="f", prior=Kept.prior, data=Kept.data, simulate=max, units=units)


def test_time_has_a_unit_where_data_are_a_series():
    parts = {"name": "f", "prior": Kept.prior, "simulate": max, "units": {"time": "day"}}
    assert describe(Simulator(data=Series(("x",), n=5), **parts))["units"] == {"time": "day"}
    with pytest.raises(UnknownName, match="got 'time'"):
        Simulator(data=Vector(("x",)), **parts)


def test_an_instance_not_its_class():
    with pytest.raises(BadType, match=r"the simulator as an object; got the class Kept; pass Kept"):
        expect_simulator(Kept)
    assert expect_simulator(Kept()).data == Kept.data
    with pytest.raises(BadType, match=r"the generator as an object; got the class Kept; pass Kept"):
        expect_generator(Kept)


def test_no_bank_is_simulated_from_a_generator():
    with pytest.raises(BadType, match=r"parameters to infer; got a generator of labelled data"):
        simulate(load_generator("kryptonite"), 5, seed=0)
