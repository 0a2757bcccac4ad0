"""`check_latent` accepts what keeps the contract and names the clause that is broken."""

import random

import numpy as np
import pytest

from sbi_kit.checks import BadType, BadValue
from sbi_kit.testing import check_latent

X = np.random.default_rng(0).normal(size=(40, 3)) * (3, 1, 1) + 5


class Axis:
    """The axis of largest variance, written without the package; the base of the broken ones."""

    def __init__(self):
        self.components = 1

    def fit(self, x):
        x = np.asarray(x)
        self.mean = x.mean(axis=0)
        self.axis = np.linalg.svd(x - self.mean, full_matrices=False)[2][:1]
        self.sd = float(((x - self.mean) @ self.axis.T).std())
        return self

    def encode(self, x):
        x = np.asarray(x)
        if not np.isfinite(x).all():
            raise ValueError("finite rows, please")
        return (x - self.mean) @ self.axis.T

    def decode(self, z):
        return z @ self.axis + self.mean

    def score(self, x):
        return -float(np.square(self.decode(self.encode(x)) - x).sum(axis=1).mean())

    def sample(self, rows, *, seed):
        rng = np.random.default_rng(seed)
        return self.decode(self.sd * rng.normal(size=(rows, 1)))


def test_a_good_one_passes():
    check_latent(Axis(), X)
    check_latent(Axis(), X.tolist(), seed=3)


good = {name: getattr(Axis, name) for name in ("fit", "encode", "decode", "score", "sample")}


def fit_none(self, x):
    good["fit"](self, x)


def fit_copy(self, x):
    return Axis().fit(x)


def fit_in_place(self, x):
    good["fit"](self, x)
    x -= x.mean(axis=0)
    return self


def fit_on(self, x):
    """It goes on from where the last fit ended."""
    before = getattr(self, "mean", 0.0)
    good["fit"](self, x)
    self.mean = (self.mean + before) / 2
    return self


def fit_by_global_noise(self, x):
    good["fit"](self, x)
    self.mean = self.mean + random.random()
    return self


def fit_another_size(self, x):
    self.components = 2
    good["fit"](self, x)
    self.axis = np.linalg.svd(x - self.mean, full_matrices=False)[2][:2]
    return self


def fit_fails(self, x):
    raise RuntimeError("singular")


def encode_early(self, x):
    return good["encode"](self, x) if hasattr(self, "mean") else np.zeros((len(x), 1))


def encode_by_neighbours(self, x):
    codes = good["encode"](self, x)
    return codes / codes.std()


def encode_anything(self, x):
    return (np.nan_to_num(x[:, :3], posinf=0) - self.mean) @ self.axis.T


def encode_infinities(self, x):
    return np.nan_to_num((np.asarray(x) - self.mean) @ self.axis.T)


def decode_around_zero(self, z):
    return z @ self.axis


def decode_by_neighbours(self, z):
    return good["decode"](self, z - z.mean())


def sample_same(self, rows, *, seed):
    return good["sample"](self, rows, seed=1)


def sample_global(self, rows, *, seed):
    return self.decode(np.random.normal(size=(rows, 1)))  # noqa: NPY002


def sample_unseeded(self, rows, *, seed):
    return self.decode(np.random.default_rng().normal(size=(rows, 1)))


def sample_one_row(self, rows, *, seed):
    return np.repeat(good["sample"](self, 1, seed=seed), rows, axis=0)


@pytest.mark.parametrize(
    ("parts", "error", "message"),
    [
        ({"fit": fit_none}, BadType, "the model itself; got None; return self"),
        ({"fit": fit_copy}, BadType, "the model itself; got another Axis"),
        ({"fit": fit_in_place}, BadValue, "leave x alone"),
        ({"fit": fit_on}, BadValue, "same codes when fitted again"),
        ({"fit": fit_by_global_noise}, BadValue, "global"),
        ({"fit": fit_another_size}, BadValue, "as they were set; got 1 before and 2 after fit"),
        ({"fit": fit_fails}, BadValue, r"fit\(x\) to run; got RuntimeError: singular"),
        ({"encode": encode_early}, BadValue, "error from encode before fit; got none"),
        ({"encode": encode_by_neighbours}, BadValue, "same from encode, whatever the other rows"),
        ({"encode": encode_anything}, BadValue, "error from encode of a column more"),
        ({"encode": encode_infinities}, BadValue, "error from encode of infinities; got none"),
        (
            {"encode": lambda self, x: good["encode"](self, x)[:, 0]},
            BadValue,
            r"encode of 40 rows to return an array of shape \(40, 1\); got \(40,\)",
        ),
        (
            {"encode": lambda self, x: good["encode"](self, x).tolist()},
            BadType,
            "encode of 40 rows to return an array .* got list",
        ),
        (
            {"encode": lambda self, x: np.log(good["encode"](self, np.asarray(x)) - 1e3)},
            BadValue,
            "codes without NaN or inf; got nan",
        ),
        ({"decode": decode_around_zero}, BadValue, "as near to x as its columns' means; got a"),
        ({"decode": decode_by_neighbours}, BadValue, "same from decode, whatever the other rows"),
        (
            {"decode": lambda self, z: good["decode"](self, z)[:, :2]},
            BadValue,
            r"decode of 40 codes .* \(40, 3\); got \(40, 2\)",
        ),
        ({"score": lambda self, x: "good"}, BadType, "score to return a float; got str"),
        ({"score": lambda self, x: float("nan")}, BadValue, "finite score; got nan"),
        (
            {"score": lambda self, x: len(x) * good["score"](self, x)},
            BadValue,
            "score that is a mean over rows; got",
        ),
        ({"sample": sample_same}, BadValue, "another sample from another seed; got the same"),
        ({"sample": sample_global}, BadValue, "global"),
        ({"sample": sample_unseeded}, BadValue, "same sample from the same seed"),
        ({"sample": sample_one_row}, BadValue, "rows that differ; got one row"),
        (
            {"sample": lambda self, rows, *, seed: good["sample"](self, rows + 1, seed=seed)},
            BadValue,
            r"sample\(64, seed=0\) to return an array of shape \(64, 3\); got \(65, 3\)",
        ),
        (
            {"sample": lambda self, rows, *, seed: np.full((rows, 3), np.inf)},
            BadValue,
            "finite samples; got NaN or infinity",
        ),
        ({"components": property(lambda self: 1.0, lambda self, n: None)}, BadType, "components"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_broken_ones_are_named(parts, error, message):
    with pytest.raises(error, match=message):
        check_latent(type("Broken", (Axis,), parts)(), X)


class Half:
    components = 1

    def fit(self, x):
        return self


def test_what_it_is_given_is_checked():
    with pytest.raises(BadType, match="got one without encode, decode, score, sample; add"):
        check_latent(Half(), X)
    with pytest.raises(BadValue, match="x of 10 rows at least; got 9"):
        check_latent(Axis(), X[:9])
    with pytest.raises(BadValue, match="x without NaN or inf; got nan"):
        check_latent(Axis(), np.where(X > 9, np.nan, X))
    with pytest.raises(BadValue, match="an error from encode before fit"):
        check_latent(Axis().fit(X), X)
