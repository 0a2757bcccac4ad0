"""The local check on conjugate normals: exact everywhere, or wrong only where x is large."""

import math
import re
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sbi_kit.checks import BadType, BadValue
from sbi_kit.data import Datasets, Vector
from sbi_kit.diagnostics.local import LocalCheck, check_locally, summarise
from sbi_kit.prior import LogNormal, Prior

NOISE = 0.5
SD = NOISE / math.sqrt(1 + NOISE**2)


def as_data(x):
    return Datasets(np.asarray(x, dtype=float)[:, None], np.ones(len(x), np.int64))


@dataclass
class Bank:
    """theta ~ N(0, I), x = theta + noise, with further columns of noise."""

    seed: int
    b: int = 1_000
    d: int = 2
    idle: int = 0
    drop: tuple[int, ...] = ()

    def __post_init__(self):
        rng = np.random.default_rng(self.seed)
        self.theta = rng.normal(size=(self.b, self.d))
        noise = NOISE * rng.normal(size=self.theta.shape)
        self.x = np.hstack([self.theta + noise, rng.normal(size=(self.b, self.idle))])
        self.prior = SimpleNamespace(names=tuple("abcde"[: self.d]))
        self.usable = np.setdiff1d(np.arange(self.b), self.drop)

    def take(self, rows):
        return self.theta[rows], as_data(self.x[rows])


@dataclass
class Normal:
    """The exact posterior of `Bank`, but in its first parameter where `where` holds for x."""

    shift: float = 0.0
    ratio: float = 1.0
    where: object = field(default=lambda x: x[:, 0] > 0.3)
    d: int = 2

    def __post_init__(self):
        self.prior = SimpleNamespace(names=tuple("abcde"[: self.d]))

    def noise(self, rng, size):
        return rng.normal(size=size)

    def sample(self, x, *, draws, seed):
        rows = x.values[:, 0]
        wrong = self.where(rows)[:, None] * np.eye(self.d)[0]
        mean = rows[:, : self.d] / (1 + NOISE**2) + wrong * self.shift * SD
        sd = SD * np.where(wrong, self.ratio, 1.0)
        # Another stream than the bank's, which has the same seeds.
        noise = self.noise(np.random.default_rng([7, seed]), (len(rows), draws, self.d))
        return mean[:, None] + sd[:, None] * noise

    def log_prob(self, theta, x):
        raise AssertionError("nobody needs densities")


class TwoHumps(Normal):
    """Of the right mean and sd, but with two modes."""

    def noise(self, rng, size):
        return 0.95 * np.sign(rng.normal(size=size)) + math.sqrt(1 - 0.95**2) * rng.normal(
            size=size
        )


THERE, ELSEWHERE = [1.3, 0.0], [-1.0, 0.0]
BOTH = as_data([THERE, ELSEWHERE])


def check(posterior, seed, x=BOTH, **options):
    arguments = {"draws": 50, "permutations": 199, "seed": seed} | options
    return check_locally(posterior, Bank(seed), x, **arguments)


def rejected(posterior, repetitions, **options):
    p = [check(posterior, seed, **options).p_values for seed in range(repetitions)]
    return np.mean(np.array(p) < 0.05, axis=0)


def expect_level(posterior, repetitions, size=0.05, **options):
    p = np.array([check(posterior, seed, **options).p_values for seed in range(repetitions)])
    error = math.sqrt(size * (1 - size) / repetitions)
    assert (p <= size).mean(axis=0) == pytest.approx(size, abs=4 * error)
    assert stats.kstest(p[:, 0], "uniform").pvalue > 1e-3


@pytest.mark.parametrize(
    "wrong", [Normal(shift=0.8), Normal(shift=-0.8), Normal(ratio=0.5), Normal(ratio=2.0)]
)
def test_what_is_wrong_in_one_region_is_found_there_and_not_elsewhere(wrong):
    there, elsewhere = rejected(wrong, 20)
    assert there >= 0.95
    assert elsewhere <= 0.25  # 5 %, and four standard errors


def test_an_exact_posterior_is_seldom_rejected():
    expect_level(Normal(), 60, draws=30)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"share": 1.0}, {"features": lambda x: x.values[:, 0]}])
def test_the_level(options):
    expect_level(Normal(), 1_000, **options)


@pytest.mark.slow
@pytest.mark.parametrize("wrong", [Normal(shift=0.8), Normal(ratio=0.6)])
def test_the_level_elsewhere(wrong):
    _, elsewhere = rejected(wrong, 1_000)
    assert elsewhere < 0.08


def test_a_shape_that_has_the_right_moments_is_seen():
    wrong = TwoHumps(where=lambda x: x[:, 0] > -99)
    assert rejected(wrong, 10).min() >= 0.9


def test_shift_and_width_are_those_of_the_posterior():
    found = check_locally(
        Normal(0.8, 1.5), Bank(1, b=4_000), BOTH, draws=200, seed=1, permutations=99
    )
    error = 1 / np.sqrt(found.effective)
    assert abs(found.shift[0, 0] + 0.8 / 1.5) < 4 * error[0]
    assert found.width[0, 0] == pytest.approx(math.sqrt(1 + 0.8**2) / 1.5, abs=4 * error[0])
    assert (np.abs(found.shift[1]) < 4 * error[1]).all()
    np.testing.assert_allclose(found.width[1], 1, atol=4 * error[1])
    assert (found.effective > 300).all()
    assert (found.effective < 800).all()  # a fifth of the bank has weight


def test_a_region_that_the_posterior_ignores_needs_features_that_know_it():
    bank = Bank(1, b=2_000, idle=1)
    wrong = Normal(1.0, where=lambda x: x[:, 2] > 0.5)
    x = as_data([[0.0, 0.0, 1.5], [0.0, 0.0, -1.5]])
    options = {"draws": 50, "seed": 1, "permutations": 199}
    by_default = check_locally(wrong, bank, x, **options)
    told = check_locally(wrong, bank, x, features=lambda x: x.values[:, 0, 2:], **options)
    for found in (by_default, told):
        assert found.p_values[0] < 0.01
        assert found.p_values[1] > 0.05


def test_units_and_order_do_not_matter():
    class Scaled(Normal):
        def sample(self, x, **options):
            return 1e6 * super().sample(x, **options)

    bank, scaled = Bank(1), Bank(1)
    scaled.theta = 1e6 * bank.theta
    one = check_locally(Normal(), bank, BOTH, draws=50, seed=1)
    two = check_locally(Scaled(), scaled, BOTH, draws=50, seed=1)
    np.testing.assert_allclose(one.statistic, two.statistic, rtol=1e-3)
    np.testing.assert_allclose(one.p_values, two.p_values, atol=0.02)
    again = check_locally(Normal(), bank, BOTH, draws=50, seed=1)
    np.testing.assert_array_equal(one.p_values, again.p_values)


def test_parameters_that_follow_from_others_or_never_change():
    class Twins(Normal):
        def sample(self, x, **options):
            draws = super().sample(x, **options)
            draws[..., 1] = draws[..., 0]
            return draws

    bank = Bank(1, b=300)
    bank.theta[:, 1] = bank.theta[:, 0]
    bank.x[:, 1] = bank.x[:, 0]
    found = check_locally(Twins(), bank, BOTH, draws=50, seed=1, permutations=99)
    assert np.isfinite(found.statistic).all()
    assert (found.p_values > 0.01).all()

    class Constant(Normal):
        def sample(self, x, *, draws, seed):
            return np.zeros((len(x), draws, 2))

    bank.theta[:] = 0.0
    found = check_locally(Constant(), bank, BOTH, draws=50, seed=1, permutations=99)
    np.testing.assert_array_equal(found.p_values, 1)


def test_only_usable_rows_are_judged():
    bank = Bank(1, b=400, drop=(3, 5))
    bank.x[[3, 5]] = np.nan
    assert np.isfinite(check_locally(Normal(), bank, BOTH, draws=50, seed=1).statistic).all()


def test_summaries_of_ragged_data_with_gaps():
    values = np.array([[[1.0], [3.0], [np.nan]], [[5.0], [99.0], [99.0]]])
    found = summarise(Datasets(values, np.array([3, 1]), np.array([[7.0], [8.0]])))
    mean, sd, *levels, missing, log_n, context = found.T
    assert mean.tolist() == [2, 5]
    assert sd.tolist() == [1, 0]
    np.testing.assert_allclose(levels, [[1.1, 5], [1.5, 5], [2, 5], [2.5, 5], [2.9, 5]])
    np.testing.assert_allclose(missing, [1 / 3, 0])
    np.testing.assert_allclose(log_n, np.log([3, 1]))
    assert context.tolist() == [7, 8]
    # What stands in the padding changes nothing.
    values[1, 1:] = -1.0
    again = summarise(Datasets(values, np.array([3, 1]), np.array([[7.0], [8.0]])))
    np.testing.assert_array_equal(found, again)


def test_the_sentence_names_the_worst_dataset():
    wrong = check(Normal(shift=1.5), 1, permutations=999).sentence
    assert re.fullmatch(
        r"Miscalibrated near dataset 0 \(p = 0.00\d, \d+ held-out datasets like it\): true "
        r"values of a lie -1.\d\d posterior sd off on average, and 1.\d\d times "
        r"as far as they should.",
        wrong,
    ), wrong
    fine = LocalCheck(("a",), np.array([0.3]), *(np.ones((1, 1)),) * 3, np.array([80.0]))
    assert fine.sentence == (
        "No miscalibration found near the observed data (p = 0.3, 80 held-out datasets like it)."
    )


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"draws": 13}, "draws as an integer >= 14"),
        ({"share": 0.0}, r"share as a finite number in \[0.01, 1\]"),
        ({"permutations": 0}, "permutations as an integer >= 1"),
        ({"features": lambda x: x.values}, r"features of shape \(1000, f\)"),
        ({"features": lambda x: x.values[:, 0] * np.nan}, "features without NaN or inf"),
        ({"features": lambda x: np.ones((len(x), len(x)))}, r"features of shape \(2, 1000\)"),
    ],
)
def test_refusals(options, match):
    with pytest.raises(BadValue, match=match):
        check(Normal(), 1, **options)


def test_data_are_read_by_the_layout_of_bank_or_posterior():
    bank, posterior = Bank(1), Normal(shift=0.5)
    told = check_locally(posterior, bank, BOTH, draws=50, seed=1)
    with pytest.raises(BadType, match="as neither bank nor posterior has a layout; got list; read"):
        check_locally(posterior, bank, [THERE, ELSEWHERE], draws=50, seed=1)
    for owner in (bank, posterior):
        owner.data = Vector(("first", "second"))
        for x in (np.array([THERE, ELSEWHERE]), pd.DataFrame([THERE, ELSEWHERE]), BOTH):
            if isinstance(x, pd.DataFrame):
                x.columns = owner.data.columns
            found = check_locally(posterior, bank, x, draws=50, seed=1)
            np.testing.assert_array_equal(found.statistic, told.statistic)
        with pytest.raises(BadValue, match="column"):
            check_locally(posterior, bank, np.ones(3), draws=50, seed=1)
        del owner.data


def test_what_is_known_besides_is_passed_on():
    bank, posterior, given = Bank(1), Normal(), []
    bank.data = Vector(("first", "second"), context=Prior(dose=LogNormal(0, 1)))
    ours = posterior.sample
    posterior.sample = lambda x, **options: (given.append(x.context), ours(x, **options))[1]
    of_bank = bank.take

    def take(rows):
        theta, x = of_bank(rows)
        return theta, replace(x, context=np.ones((len(x), 1)))

    bank.take = take
    check_locally(posterior, bank, [THERE], draws=50, seed=1, context={"dose": 3.0})
    assert given[-1].tolist() == [[3.0]]


def test_refusal_of_few_simulations():
    with pytest.raises(BadValue, match="at least 100 simulations; got 99 usable"):
        check_locally(Normal(), Bank(1, b=99), BOTH, draws=50, seed=1)
