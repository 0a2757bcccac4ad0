"""`check_simulator` accepts what keeps the contract and names the clause that is broken."""

import random

import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm

from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import Exchangeable, Series, Vector
from sbi_kit.prior import Beta, Gamma, LogNormal, LogUniform, MultivariateNormal, Prior, Uniform
from sbi_kit.testing import check_generator, check_simulator


class NormalPrior:
    """Two independent standard normal parameters, written without the package."""

    names = ("a", "b")

    def sample(self, b, rng):
        return rng.standard_normal((b, len(self.names)))

    def log_prob(self, theta):
        return norm.logpdf(theta).sum(axis=-1)

    def whiten(self, theta):
        return np.array(theta)

    def unwhiten(self, u):
        return np.array(u)


class Shift:
    """Normal data with mean `a`; the base of the broken simulators."""

    prior = NormalPrior()
    data = Exchangeable(columns=("x", "y"), n=(2, 9))

    def simulate(self, theta, rng, n):
        return theta[:, None, :] + rng.standard_normal((len(theta), n, 2))


def broken(**parts):
    return type("Broken", (Shift,), parts)()


def broken_prior(**parts):
    return broken(prior=type("BrokenPrior", (NormalPrior,), parts)())


class Summary:
    """A `Vector` simulator with a dependent bound and a joint block."""

    prior = Prior(
        MultivariateNormal(names=("a", "b"), mean=(0, 5), covariance=((2, 1), (1, 3))),
        top=LogUniform(0.1, 10.0),
        share=Uniform(0, "top"),
        skewed=Beta(0.5, 3.0),
        rate=Gamma(0.7, 2.0),
        size=LogNormal(3.0, 2.0),
    )
    data = Vector(columns=("one", "two"))
    observed = (1.0, 2.0)

    def simulate(self, theta, rng):
        return theta[:, :2] * theta[:, 2:4] + rng.standard_normal((len(theta), 2))


class RareEvents:
    """Coarse data: most datasets are the same all-zero series."""

    prior = Prior(rate=Uniform(0.01, 0.05))
    data = Series(columns=("events",), n=(1, 4))

    def simulate(self, theta, rng, n):
        return rng.poisson(theta[:, None], size=(len(theta), n, 1))[...]


@pytest.mark.parametrize("model", [Shift(), Summary(), RareEvents()])
@pytest.mark.parametrize("seed", range(4))
def test_good_simulators_pass_without_a_trace(model, seed):
    numpys, pythons = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert check_simulator(model, datasets=400, seed=seed) is None
    assert np.random.get_state()[1].tolist() == numpys  # noqa: NPY002
    assert random.getstate() == pythons


def test_vector_without_named_axis_is_refused():
    model = type("Broken", (Summary,), {"simulate": lambda self, theta, rng: rng.random(2)})()
    with pytest.raises(BadValue, match=r"Broken\.simulate\(theta, rng\) at b = 1, .*\(1, 2\); got"):
        check_simulator(model)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Shift, BadType, r"the class Shift; pass Shift\(\)"),
        (object(), BadType, "object without prior and data and simulate"),
        (broken(simulate=None), BadType, "got NoneType; define simulate"),
        (broken(prior=3), BadType, "got int; write it like Prior"),
        (broken(observed={"x": [1.0], "z": [2.0]}), BadValue, "got only x, z; add column 'y'"),
        (broken(observed=[[1.0, np.nan]]), BadValue, "nan at row 0 of column 'y'"),
    ],
)
def test_missing_parts_and_unreadable_data_are_refused(model, error, message):
    with pytest.raises(error, match=message):
        check_simulator(model)


def correlated(self, b, rng):
    first = rng.standard_normal((b, 1))
    return np.hstack([first, 0.8 * first + 0.6 * rng.standard_normal((b, 1))])


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (broken_prior(names=("a", "a")), BadValue, r"got \('a', 'a'\); name each parameter once"),
        (broken_prior(names=["a", "b"]), BadValue, "prior.names as a tuple of distinct names"),
        (broken_prior(names=()), BadValue, "prior.names as a tuple of distinct names"),
        (
            broken_prior(sample=lambda self, b, rng: rng.standard_normal(b)),
            BadValue,
            r"prior.sample\(b, rng\) to return an array of shape \(2000, 2\); got \(2000,\)",
        ),
        (
            broken_prior(sample=lambda self, b, rng: np.full((b, 2), np.nan)),
            BadValue,
            "prior's draws without NaN or inf; got nan at row 0 of column 'a'",
        ),
        (
            broken_prior(sample=lambda self, b, rng: np.random.default_rng().random((b, 2))),
            BadValue,
            "the same draws from the same rng",
        ),
        (
            broken_prior(log_prob=lambda self, theta: norm.logpdf(theta)),
            BadValue,
            r"prior.log_prob\(theta\) to return an array of shape \(2000,\); got \(2000, 2\)",
        ),
        (
            broken_prior(log_prob=lambda self, theta: float(norm.logpdf(theta).sum())),
            BadType,
            r"prior.log_prob\(theta\) to return .*; got float; return a numpy array",
        ),
        (
            broken_prior(
                log_prob=lambda self, t: np.where((t > 0).all(-1), norm.logpdf(t).sum(-1), -np.inf)
            ),
            BadValue,
            "finite prior.log_prob at its own draws; got -inf at a = ",
        ),
        (
            broken_prior(
                log_prob=lambda self, t: np.where((t < 5).all(-1), norm.logpdf(t).sum(-1), -np.inf)
            ),
            BadValue,
            r"at unwhitened points at u = \+-6; got -inf at a = 6",
        ),
        (
            broken_prior(log_prob=lambda self, theta: norm.logpdf(theta).sum(axis=-1) + 1),
            BadValue,
            r"equal to the density that unwhiten implies; got \+1 at a = ",
        ),
        (
            broken_prior(whiten=lambda self, theta: theta.T),
            BadValue,
            r"prior.whiten\(theta\) to return an array of shape \(2000, 2\)",
        ),
        (
            broken_prior(whiten=lambda self, theta: theta + np.array([np.inf, 0])),
            BadValue,
            "whitened draws of the prior without NaN or inf; got inf at row 0 of column 'a'",
        ),
        (
            broken_prior(unwhiten=lambda self, u: np.array(u) * [1, 1.001]),
            BadValue,
            r"unwhiten\(whiten\(theta\)\) within 1e-6 of theta; got .* for b",
        ),
        (
            broken_prior(unwhiten=lambda self, u: np.array(u).reshape(-1, 2)),
            BadValue,
            r"prior.unwhiten\(u\) with two leading axes .* \(2, 20, 2\); got \(40, 2\)",
        ),
        (
            broken_prior(sample=lambda self, b, rng: rng.standard_normal((b, 2)) * [1, 1.3]),
            BadValue,
            r"draws of the prior that are N\(0, 1\); got mean .* and sd 1.\d+ for b",
        ),
        (broken_prior(sample=correlated), BadValue, "got correlation 0.8.* of a and b"),
    ],
)
def test_broken_priors_are_named(model, error, message):
    with pytest.raises(error, match=message):
        check_simulator(model)


def add(theta, noise):
    return theta[:, None, :] + noise


def raises(self, theta, rng, n):
    raise ZeroDivisionError("no boys left")


def refuses_the_largest_n(self, theta, rng, n):
    return add(theta, rng.standard_normal((len(theta), min(n, 5), 2)))


def one_row_for_a_batch(self, theta, rng, n):
    return rng.standard_normal((1, n, 2))


def ignores_the_rng(self, theta, rng, n):
    return add(theta, np.ones((len(theta), n, 2)))


def has_its_own_rng(self, theta, rng, n):
    return add(theta, np.random.default_rng().standard_normal((len(theta), n, 2)))


def uses_numpys_global_state(self, theta, rng, n):
    return add(theta, np.random.standard_normal((len(theta), n, 2)))  # noqa: NPY002


def uses_pythons_global_state(self, theta, rng, n):
    return add(theta, rng.standard_normal((len(theta), n, 2)) + random.random())


def reads_the_global_state(self, theta, rng, n):
    hidden = np.random.get_state()[1][0]  # noqa: NPY002
    return add(theta, rng.standard_normal((len(theta), n, 2)) + hidden)


def changes_theta(self, theta, rng, n):
    theta *= 2
    return add(theta, rng.standard_normal((len(theta), n, 2)))


def ignores_theta(self, theta, rng, n):
    return rng.standard_normal((len(theta), n, 2))


def shares_one_stream(self, theta, rng, n):
    return add(theta, rng.standard_normal((1, n, 2)))


def copies_streams_across_workers(self, theta, rng, n):
    workers = 4 if len(theta) % 4 == 0 else 1
    noise = rng.standard_normal((len(theta) // workers, n, 2))
    return add(theta, np.tile(noise, (workers, 1, 1)))


def shares_one_of_two_noises(self, theta, rng, n):
    return add(theta, rng.standard_normal((len(theta), n, 2)) + rng.standard_normal((1, 1, 2)))


def shares_a_scale(self, theta, rng, n):
    scale = rng.gamma(2.0, size=(1, 1, 2))
    return add(theta, scale * rng.standard_normal((len(theta), n, 2)))


def always_fails(self, theta, rng, n):
    return np.full((len(theta), n, 2), np.nan)


def fails_above_zero(self, theta, rng, n):
    return np.log(np.maximum(-theta[:, None, :], 0)) + rng.standard_normal((len(theta), n, 2))


@pytest.mark.parametrize(
    ("simulate", "error", "message"),
    [
        (raises, BadValue, "got ZeroDivisionError: no boys left; repair it, first at b = 1, n = 2"),
        (
            lambda self, theta, rng: None,
            BadValue,
            r"simulate\(theta, rng, n\) to run at draws of the prior; got TypeError",
        ),
        (lambda self, theta, rng, n: None, BadType, "got NoneType; return a numpy array"),
        (lambda self, theta, rng, n: [[[0.0]]], BadType, "got list; return a numpy array"),
        (
            lambda self, theta, rng, n: np.full((len(theta), n, 2), "?"),
            BadType,
            "got an array of <U1; return numbers",
        ),
        (
            lambda self, theta, rng, n: rng.standard_normal((len(theta), 2)),
            BadValue,
            r"Broken\.simulate\(theta, rng, n\) at b = 1, n = 2 .* \(1, 2, 2\); got \(1, 2\)",
        ),
        (one_row_for_a_batch, BadValue, r"at b = 2, n = 2 to return .* \(2, 2, 2\); got \(1, 2, 2"),
        (refuses_the_largest_n, BadValue, r"at b = 1, n = 9 .* \(1, 9, 2\); got \(1, 5, 2\)"),
        (ignores_the_rng, BadValue, "other data from another rng; got the same data"),
        (has_its_own_rng, BadValue, "same data from the same rng state; got other data"),
        (uses_numpys_global_state, BadValue, "got a change of the global random state"),
        (uses_pythons_global_state, BadValue, "got a change of the global random state"),
        (reads_the_global_state, BadValue, "got data that depend on the global random state"),
        (changes_theta, BadValue, "theta left as it was; got theta changed in place"),
        (ignores_theta, BadValue, "depend on theta; got the same data for other parameters"),
        (shares_one_stream, BadValue, "got 1120 pairs of replicates that are equal"),
        (copies_streams_across_workers, BadValue, "that share no random numbers; got 160"),
        (shares_one_of_two_noises, BadValue, "replicates in a batch with like means of 'x'"),
        (shares_a_scale, BadValue, "replicates in a batch with like sds of 'x'"),
        (always_fails, BadValue, "at most 20% failed simulations; got 200 of 200 datasets"),
        (
            fails_above_zero,
            BadValue,
            r"at most 20% failed .* of 200 datasets \(n = 2\) with NaN or infinity, first at a = ",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning")
def test_broken_simulators_are_named(simulate, error, message):
    with pytest.raises(error, match=message):
        check_simulator(broken(simulate=simulate))


def test_a_few_failed_simulations_are_a_warning():
    def fails_above_two(self, theta, rng, n):
        x = add(theta, rng.standard_normal((len(theta), n, 2)))
        return np.where(theta[:, None, :] > 2, np.nan, x)

    with pytest.warns(UserWarning, match=r"got \d+ of 200 datasets \(n = [29]\) with NaN"):
        check_simulator(broken(simulate=fails_above_two))


def test_an_error_of_the_simulators_own_is_passed_on_whole():
    def simulate(self, theta, rng, n):
        raise BadValue("a dry day", "rain", "wait")

    with pytest.raises(BadValue, match="Expected a dry day; got rain; wait"):
        check_simulator(broken(simulate=simulate))


def test_coarse_data_of_few_datasets_raise_no_false_alarm():
    for seed in range(30):
        check_simulator(RareEvents(), datasets=20, seed=seed)


def test_streams_that_repeat_across_batches_are_found():
    """A compiled program, say, that is handed small numbers as seeds."""

    def has_few_seeds(self, theta, rng, n):
        seeds = rng.integers(0, 1_000, len(theta))
        noise = [np.random.default_rng(seed).standard_normal((n, 2)) for seed in seeds]
        return theta[:, None] + np.stack(noise)

    model = broken(simulate=has_few_seeds, data=Exchangeable(("x", "y"), n=5))
    with pytest.warns(UserWarning, match=r"share no random numbers expected; got \d+ pairs"):
        check_simulator(model)


def answers_at_fixed_levels(self, theta, rng, n):
    """Answers 0 or 1 at the same twenty intensities in every dataset."""
    level = np.broadcast_to(np.linspace(0.025, 0.975, n), (len(theta), n))
    right = rng.random((len(theta), n)) < 1 / (1 + np.exp(-8 * (level - theta[:, :1])))
    return np.stack([level, right], axis=-1)


def curve_or_nothing(self, theta, rng, n):
    """A curve without noise that is there or not."""
    curve = np.exp(-(theta[:, :1, None] ** 2) * np.linspace(0.1, 1, n)[:, None])
    return np.repeat(curve, 2, axis=2) * rng.integers(0, 2, (len(theta), 1, 1))


def scaled_counts(self, theta, rng, n):
    return (rng.poisson(np.exp(theta[:, None] - 1), (len(theta), n, 2)) + 0.1) / 7


@pytest.mark.parametrize("simulate", [answers_at_fixed_levels, curve_or_nothing, scaled_counts])
@pytest.mark.parametrize("seed", range(4))
def test_noise_of_few_values_is_no_copied_stream(simulate, seed):
    model = broken(simulate=simulate, data=Exchangeable(("x", "y"), n=20))
    check_simulator(model, seed=seed)


def test_too_few_datasets_are_refused():
    with pytest.raises(BadValue, match="datasets as an integer >= 20; got 3"):
        check_simulator(Shift(), datasets=3)


class Ranked:
    """Each observation is a rank in its own dataset, so a part of one is no dataset."""

    prior = Prior(scale=Uniform(1, 2))

    def __init__(self, nested):
        self.data = Exchangeable(columns=("rank",), n=(5, 50), nested=nested)

    def simulate(self, theta, rng, n):
        noise = rng.standard_normal((len(theta), n))
        return (np.argsort(np.argsort(noise, axis=1), axis=1) * theta)[:, :, None]


def test_parts_of_datasets_must_be_datasets_where_that_is_declared():
    with pytest.raises(BadValue, match=r"first 5 of 50 observations.*mean of 'rank'.*nested=False"):
        check_simulator(Ranked(nested=True))
    check_simulator(Ranked(nested=False))


class Spread:
    """A line watched at n points, of a fixed span or at fixed intervals."""

    prior = Prior(slope=Uniform(1, 2))

    def __init__(self, *, span):
        self.span, self.data = span, Series(columns=("height",), n=(5, 50), nested=True)

    def simulate(self, theta, rng, n):
        times = np.linspace(0, self.span, n) if self.span else np.arange(n) / 50
        return (theta * times + 0.1 * rng.standard_normal((len(theta), n)))[:, :, None]


def test_beginnings_of_series_must_be_series_where_that_is_declared():
    with pytest.raises(BadValue, match=r"mean of 'height'.*; declare nested=False"):
        check_simulator(Spread(span=1.0))
    check_simulator(Spread(span=None))


# Labelled data


class Apples:
    """Numbers, a missing value here and there, text and categories; the base of the broken ones."""

    features, targets = ("weight", "ripe", "kind", "colour"), ("price", "sold")

    def generate(self, rows, rng):
        weight = rng.normal(150, 20, rows)
        holes = np.where(rng.random(rows) < 0.1, np.nan, weight)
        kind = np.array(["boskoop", "cox"], dtype=object)[rng.integers(0, 2, rows)]
        codes = rng.integers(-1, 2, rows)
        return pd.DataFrame(
            {
                "weight": holes,
                "ripe": rng.random(rows) < 0.5,
                "kind": kind,
                "colour": pd.Categorical.from_codes(codes, ["red", "green"]),
                "price": 0.01 * weight + rng.random(rows),
                "sold": np.where(rng.random(rows) < 0.5, "yes", "no"),
            }
        )


class Dice:
    """Coarse labelled data: many rows are equal by chance."""

    features, targets = ("first",), ("sum",)

    def generate(self, rows, rng):
        throws = rng.integers(1, 7, (rows, 2))
        return pd.DataFrame({"first": throws[:, 0], "sum": throws.sum(axis=1)})


def apples(**parts):
    return type("Broken", (Apples,), parts)()


def changed(change):
    """Apples whose frame is changed before it is returned."""
    return apples(generate=lambda self, rows, rng: change(Apples().generate(rows, rng), rows, rng))


@pytest.mark.parametrize("model", [Apples(), Dice()])
@pytest.mark.parametrize("seed", range(10))
def test_good_generators_pass_without_a_trace(model, seed):
    numpys, pythons = np.random.get_state()[1].tolist(), random.getstate()  # noqa: NPY002
    assert check_generator(model, rows=100 + 300 * seed, seed=seed) is None
    assert np.random.get_state()[1].tolist() == numpys  # noqa: NPY002
    assert random.getstate() == pythons


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Apples, BadType, r"the class Apples; pass Apples\(\)"),
        (object(), BadType, "features, targets and generate; got object without features and targ"),
        (Shift(), BadType, "to generate labelled data; got a simulator, whose parameters are"),
        (
            apples(features=["weight"]),
            BadType,
            r"features as a tuple of distinct names; got \['wei",
        ),
        (apples(features=()), BadType, "features as a tuple of distinct names; got ()"),
        (
            apples(targets=("a", "a")),
            BadType,
            "targets as a tuple of distinct names; got .'a', 'a'",
        ),
        (
            apples(targets=("kind", "sold")),
            BadValue,
            "targets that are no features; got kind; leave",
        ),
    ],
)
def test_missing_parts_of_generators_are_refused(model, error, message):
    with pytest.raises(error, match=message):
        check_generator(model)


def fail(frame, rows, rng):
    raise ZeroDivisionError("no apples left")


def refuse(frame, rows, rng):
    raise BadValue("apples", "pears", "pick others")


def own_rng(frame, rows, rng):
    return frame.assign(price=np.random.default_rng().random(rows))


def global_rng(frame, rows, rng):
    return frame.assign(price=np.random.random(rows))  # noqa: NPY002


def hidden_state(frame, rows, rng):
    return frame.assign(price=frame["price"] + np.random.get_state()[1][0])  # noqa: NPY002


def no_rng(frame, rows, rng):
    return Apples().generate(rows, np.random.default_rng(0))


def repeated(frame, rows, rng):
    """Two workers with the same stream."""
    half = frame[: (rows + 1) // 2]
    return pd.concat([half, half], ignore_index=True)[:rows]


def seldom_repeated(frame, rows, rng):
    return pd.concat([frame[: rows - rows // 50], frame[: rows // 50]], ignore_index=True)


def infinite(frame, rows, rng):
    return frame.assign(weight=np.where(rng.random(rows) < 0.1, -np.inf, frame["weight"]))


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (fail, BadValue, r"generate\(1, rng\) to run; got ZeroDivisionError: no apples left; rep"),
        (refuse, BadValue, "Expected apples; got pears; pick others"),
        (
            lambda frame, *_: frame.to_numpy(),
            BadType,
            "to return a frame; got ndarray; return a pan",
        ),
        (
            lambda frame, *_: frame.rename(columns={"kind": "sort"}),
            BadValue,
            "with the columns features, targets; got kind, sort in only one of the two; retu",
        ),
        (
            lambda frame, *_: frame[frame.columns[::-1]],
            BadValue,
            "got another order; return feature",
        ),
        (lambda frame, *_: frame.assign(more=1), BadValue, "got more in only one of the two"),
        (
            lambda frame, *_: frame[:1],
            BadValue,
            r"generate\(2, rng\) to return a frame of 2 rows; ",
        ),
        (
            lambda frame, *_: frame.assign(kind=[{}] * len(frame)),
            BadType,
            "numbers, booleans, text or categories in 'kind' of .*; got object; convert them",
        ),
        (
            lambda frame, *_: frame.assign(kind=pd.Timestamp(2026, 1, 1)),
            BadType,
            "in 'kind' of .*; got datetime64",
        ),
        (
            lambda frame, rows, _: frame.assign(weight=1 if rows == 1 else frame["weight"]),
            BadValue,
            "same kinds in every frame; got float64 and int64 for 'weight'; fix the dtype",
        ),
        (
            own_rng,
            BadValue,
            "the same frame from the same rng state; got another frame; draw every",
        ),
        (global_rng, BadValue, "got a change of the global random state"),
        (hidden_state, BadValue, "got a frame that depends on the global random state"),
        (no_rng, BadValue, "another frame from another rng; got the same frame"),
        (
            repeated,
            BadValue,
            "rows that share no random numbers; got 1000 of 2000 rows that repeat",
        ),
        (seldom_repeated, BadValue, "got 40 of 2000 rows that repeat another"),
        (infinite, BadValue, "finite values of 'weight'; got infinity"),
        (
            lambda frame, *_: frame.assign(price=frame["weight"]),
            BadValue,
            r"a value of target 'price' in every row; got \d+ of 2000 missing",
        ),
        (
            lambda frame, *_: frame.assign(sold="no"),
            BadValue,
            "a target 'sold' that varies; got no in all of 2000 rows; check more",
        ),
    ],
)
def test_broken_generators_are_named(change, error, message):
    with pytest.raises(error, match=message):
        check_generator(changed(change))


def test_too_few_rows_are_refused():
    with pytest.raises(BadValue, match="rows as an integer >= 100; got 3"):
        check_generator(Apples(), rows=3)


# Known context and missing entries


class Stimulus:
    prior = Prior(slope=Uniform(-1, 1))
    data = Exchangeable(
        columns=("x",), n=(2, 9), context=Prior(strength=Uniform(0.5, 2)), missing=True
    )

    def simulate(self, theta, rng, n, context):
        x = (theta * context)[:, None] + rng.standard_normal((len(theta), n, 1))
        x[rng.random(x.shape) < rng.uniform(0, 0.8, (len(theta), 1, 1))] = np.nan
        return x


def forgets_context(self, theta, rng, n):
    return rng.random((len(theta), n, 1))


def ignores_context(self, theta, rng, n, context):
    return theta[:, None] + rng.random((len(theta), n, 1))


def changes_context(self, theta, rng, n, context):
    context *= 2
    return (theta * context)[:, None] + rng.random((len(theta), n, 1))


def shares_its_noise(self, theta, rng, n, context):
    x = Stimulus.simulate(self, theta, rng, n, context)
    return np.where(np.isnan(x), x, (theta * context)[:, None] + rng.random((1, n, 1)))


def copies_its_stream(self, theta, rng, n, context):
    x = (theta * context)[:, None] + rng.random((1, n, 1))
    x[:, 1:] = np.nan
    return x


def measures_less_of_more(self, theta, rng, n, context):
    x = Stimulus.simulate(self, theta, rng, n, context)
    return x + 9.0 * n


@pytest.mark.parametrize("seed", [0, 1])
def test_a_good_simulator_with_context_and_missing_entries_passes(seed):
    check_simulator(Stimulus(), seed=seed)


@pytest.mark.parametrize(
    ("simulate", "message"),
    [
        (
            forgets_context,
            r"Broken.simulate\(theta, rng, n, context\) to run at draws of the prior; got TypeError"
            r".* takes 4 positional arguments but 5 were given; repair it, .* strength = ",
        ),
        (ignores_context, "data that depend on context; got the same data for other context; use"),
        (changes_context, "context left as it was; got context changed in place; work on a copy"),
        (copies_its_stream, "pairs of replicates that are equal in every number"),
        (shares_its_noise, "datasets that share no random numbers"),
        (measures_less_of_more, "the first 2 of 9 observations to be like a dataset of 2"),
    ],
)
def test_broken_simulators_with_context_are_named(simulate, message):
    with pytest.raises(BadValue, match=message):
        check_simulator(type("Broken", (Stimulus,), {"simulate": simulate})())
