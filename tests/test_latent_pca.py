import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits

from sbi_kit.checks import BadType, BadValue
from sbi_kit.contracts import Latent
from sbi_kit.latent import PCA, PPCA
from sbi_kit.testing import check_latent


def plane(noise=0.3, rows=200, seed=0):
    """Rows near a plane in five dimensions, variances along it 4 and 1."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(rng.normal(size=(5, 2)))[0]
    x = rng.normal(size=(rows, 2)) * (2, 1) @ axes.T + np.arange(5.0)
    return x + noise * rng.normal(size=x.shape)


def test_axes_diagonalise_the_covariance():
    x = plane()
    model = PCA(components=4).fit(x)
    covariance = np.cov(x, rowvar=False, bias=True)
    np.testing.assert_allclose(
        model.axes_.T @ covariance @ model.axes_, np.diag(model.variances_), atol=1e-12
    )
    np.testing.assert_allclose(model.axes_.T @ model.axes_, np.eye(4), atol=1e-12)
    assert (np.diff(model.variances_) < 0).all()
    assert (model.axes_[np.abs(model.axes_).argmax(axis=0), range(4)] > 0).all()
    np.testing.assert_allclose(model.explained_, model.variances_ / np.trace(covariance))


def test_codes_are_uncorrelated_with_the_variances_of_the_axes():
    x = plane()
    model = PCA(components=3).fit(x)
    codes = model.encode(x)
    np.testing.assert_allclose(codes.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.diag(model.variances_), atol=1e-12)
    np.testing.assert_allclose(model.encode(model.decode(codes)), codes, atol=1e-12)


def test_reconstruction_errors_are_the_variances_left_out():
    x = plane()
    model = PCA(components=4).fit(x)
    eigenvalues = np.linalg.eigvalsh(np.cov(x, rowvar=False, bias=True))[::-1]
    wanted = [eigenvalues[m:].sum() for m in range(5)]
    np.testing.assert_allclose(model.reconstruction_errors(x), wanted, rtol=1e-12)
    others = plane(seed=1)
    errors = model.reconstruction_errors(others)
    assert (np.diff(errors) < 0).all()
    distance = np.square(model.decode(model.encode(others)) - others).sum(axis=1).mean()
    assert errors[-1] == pytest.approx(distance, rel=1e-12)
    assert model.score(others) == pytest.approx(-distance, rel=1e-12)


def test_more_columns_than_rows():
    x = np.random.default_rng(0).normal(size=(6, 40))
    model = PCA(components=5).fit(x)
    np.testing.assert_allclose(model.decode(model.encode(x)), x, atol=1e-12)


def test_it_is_the_limit_of_ppca_without_noise():
    exact = plane(noise=0.0)
    normal = np.random.default_rng(1).normal(size=exact.shape)
    gaps = []
    for sd in (1e-1, 1e-2, 1e-3):
        x = exact + sd * normal
        pca, ppca = PCA(components=2).fit(x), PPCA(components=2).fit(x)
        near = pca.decode(pca.encode(x))
        scaled = pca.encode(x) / np.sqrt(pca.variances_)
        gaps.append(
            [
                np.abs(ppca.decode(ppca.encode(x)) - near).max(),
                np.abs(ppca.encode(x) - scaled).max(),
                np.abs(ppca.weights_ - pca.axes_ * np.sqrt(pca.variances_)).max(),
            ]
        )
    # Each falls with the noise's variance.
    ratios = np.array(gaps[:-1]) / gaps[1:]
    assert ((ratios > 80) & (ratios < 125)).all()
    assert np.max(gaps[-1]) < 1e-5


def test_samples_lie_in_the_subspace_with_its_variances():
    model = PCA(components=2).fit(plane())
    drawn = model.sample(20_000, seed=1)
    np.testing.assert_allclose(model.decode(model.encode(drawn)), drawn, atol=1e-12)
    np.testing.assert_allclose(model.encode(drawn).var(axis=0), model.variances_, rtol=0.05)
    np.testing.assert_allclose(drawn.mean(axis=0), model.mean_, atol=0.06)


@pytest.mark.parametrize("make", [PCA, PPCA])
def test_the_encoder_is_a_frozen_network(make):
    x = plane()
    model = make(components=2).fit(x)
    encoder = model.encoder()
    assert [type(layer).__name__ for layer in encoder] == ["Linear"]
    assert not any(weight.requires_grad for weight in encoder.parameters())
    out = encoder(torch.from_numpy(x.astype(np.float32)))
    assert out.dtype == torch.float32
    np.testing.assert_allclose(out, model.encode(x), atol=1e-5)


@pytest.mark.parametrize("make", [PCA, PPCA])
def test_they_keep_the_contract(make):
    model = make(components=2)
    assert isinstance(model, Latent)
    check_latent(model, plane())


@pytest.mark.parametrize("make", [PCA, PPCA])
def test_constant_columns_are_named_and_cost_nothing(make):
    x = plane()
    model = make(components=2).fit(x)
    frame = pd.DataFrame(np.column_stack([x, np.full(len(x), 7.0)]), columns=[*"abcde", "fixed"])
    with pytest.warns(UserWarning, match="expected; got constant 'fixed', which"):
        wider = make(components=2).fit(frame)
    np.testing.assert_allclose(wider.decode(wider.encode(frame))[:, 5], 7)
    if make is PCA:
        np.testing.assert_allclose(wider.encode(frame), model.encode(x), atol=1e-12)


def fitted(make):
    return make(components=2).fit(plane())


FLAWED = plane()
FLAWED[3, 1] = np.nan
ENDLESS = plane()
ENDLESS[4, 2] = np.inf


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: PCA(components=5).fit(plane()), BadValue, r"components .* in \[1, 4\]; got 5"),
        (lambda: PPCA(components=5).fit(plane()), BadValue, r"components .* in \[1, 4\]; got 5"),
        (lambda: PCA(components=0).fit(plane()), BadValue, r"components .* in \[1, 4\]; got 0"),
        (lambda: PCA(components=1.5).fit(plane()), BadType, "components as an integer"),
        (lambda: PCA(components=1).fit(plane()[:, :1]), BadValue, "two columns at least; got 1"),
        (lambda: PCA(components=1).fit(plane()[:1]), BadValue, "two rows at least; got 1"),
        (lambda: PCA(components=1).fit(np.ones((5, 3))), BadValue, "vary; got constant ones alone"),
        (lambda: PCA(components=3).fit(plane(0.0)), BadValue, "rank 3 at least; got rank 2"),
        (lambda: PPCA(components=2).fit(plane(0.0)), BadValue, "rank 3 at least; got rank 2"),
        (lambda: PCA(components=3).fit(plane(rows=3)), BadValue, "rank 3 at least; got rank 2"),
        (lambda: PCA(components=2).fit(FLAWED), BadValue, "nan at row 3 of column '1'.*use PPCA"),
        (lambda: fitted(PCA).encode(FLAWED), BadValue, "nan at row 3 of column '1'"),
        (lambda: PPCA(components=2).fit(ENDLESS), BadValue, "inf at row 4 of column '2'"),
        (lambda: fitted(PCA).encode(plane()[:, :4]), BadValue, r"\(rows, 5\); got \(200, 4\)"),
        (lambda: fitted(PPCA).log_prob(plane()[:, :4]), BadValue, r"\(rows, 5\); got \(200, 4\)"),
        (lambda: fitted(PCA).encode(plane()[:0]), BadValue, "one row at least; got none"),
        (lambda: fitted(PCA).decode(np.ones((4, 3))), BadValue, r"z of shape \(rows, 2\); got"),
        (lambda: fitted(PCA).decode([[0.0, np.nan]]), BadValue, "z without NaN or inf"),
        (lambda: fitted(PCA).sample(0, seed=1), BadValue, "rows as an integer >= 1; got 0"),
        (lambda: PCA(components=2).fit([["a", "b"], ["c", "d"]]), BadType, "holding numbers"),
        (lambda: PCA(components=2).encode(plane()), BadValue, "a fitted PCA; got one that was not"),
        (lambda: PCA(components=2).decode([[0.0, 0]]), BadValue, "a fitted PCA"),
        (lambda: PCA(components=2).score(plane()), BadValue, "a fitted PCA"),
        (lambda: PCA(components=2).sample(3, seed=1), BadValue, "a fitted PCA"),
        (lambda: PCA(components=2).encoder(), BadValue, "a fitted PCA"),
    ],
)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


@pytest.mark.filterwarnings("ignore:Columns that vary")
def test_digits_as_reference():
    x = load_digits().data
    errors = PCA(components=40).fit(x).reconstruction_errors(x)
    # With D − M = 62, 54 and 24 columns left, these are the noise variances of PPCA.
    for components, noise in ((2, 13.853948), (10, 5.824351), (40, 0.590590)):
        assert errors[components] / (64 - components) == pytest.approx(noise, abs=1e-6)
