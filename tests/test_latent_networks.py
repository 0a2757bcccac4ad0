import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from sbi_kit.checks import BadType, BadValue, UnknownName
from sbi_kit.contracts import Latent
from sbi_kit.latent import PCA, PPCA, VAE, Autoencoder
from sbi_kit.latent.vae import kl_to_prior
from sbi_kit.rows import split_rows
from sbi_kit.testing import check_latent


def plane(noise=0.3, rows=2_000, seed=0):
    """Rows near a plane in five dimensions, variances along it 4 and 1."""
    rng = np.random.default_rng(seed)
    axes = np.linalg.qr(np.random.default_rng(0).normal(size=(5, 2)))[0]
    x = rng.normal(size=(rows, 2)) * (2, 1) @ axes.T + np.arange(5.0)
    return x + noise * rng.normal(size=x.shape)


def trained_on(x, model):
    """The rows of x that were not held out."""
    return x[split_rows(len(x), share=model.share, seed=model.seed)[0]]


# Autoencoder.


def test_a_linear_autoencoder_finds_the_subspace_of_pca():
    x = 100 * plane()
    model = Autoencoder(components=2, hidden=(), steps=1_200).fit(x)
    pca = PCA(components=2).fit(trained_on(x, model))
    ours = np.linalg.qr(model.networks_["decoder"][0].weight.detach().double().numpy())[0]
    cosines = np.linalg.svd(ours.T @ pca.axes_)[1]
    assert cosines.min() > 0.9999
    assert model.score(x) == pytest.approx(pca.score(x), rel=2e-3)
    np.testing.assert_allclose(model.decode(model.encode(x)), pca.decode(pca.encode(x)), atol=8)


def test_a_linear_denoising_autoencoder_shrinks_as_it_should():
    """The best linear map from x + e to x is S (S + v I)⁻¹, here within the plane."""
    x = plane(rows=5_000)
    model = Autoencoder(components=2, hidden=(), noise=1.0, steps=1_500).fit(x)
    pca = PCA(components=2).fit(trained_on(x, model))
    sd = model.scale_.size
    assert sd == pytest.approx(np.sqrt(x.var(axis=0).mean()))
    shares = pca.variances_ / (pca.variances_ + sd**2)
    wanted = pca.decode(pca.encode(x) * shares)
    found = model.decode(model.encode(x))
    assert np.sqrt(np.mean((found - wanted) ** 2)) < 0.05 * np.sqrt(np.mean((wanted - x) ** 2))


def test_a_curve_takes_one_number():
    rng = np.random.default_rng(0)
    angle = rng.uniform(-2, 2, size=1_500)
    x = np.column_stack([np.sin(angle), np.cos(angle)]) + 0.02 * rng.normal(size=(1_500, 2))
    model = Autoencoder(components=1, hidden=(32, 32), steps=1_000).fit(x)
    assert model.score(x) > 0.05 * PCA(components=1).fit(x).score(x)
    assert abs(np.corrcoef(model.encode(x)[:, 0], angle)[0, 1]) > 0.95


def bits(rows=600, seed=0):
    """Eight columns in [0, 1] that two hidden numbers move."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, 2))
    return 1 / (1 + np.exp(-3 * z @ np.random.default_rng(0).normal(size=(2, 8))))


def test_cross_entropy():
    x = bits()
    model = Autoencoder(components=2, loss="cross_entropy", hidden=(32,), steps=700).fit(x)
    near = model.decode(model.encode(x))
    assert ((near > 0) & (near < 1)).all()
    cost = -(x * np.log(near) + (1 - x) * np.log1p(-near)).sum(axis=1).mean()
    assert model.score(x) == pytest.approx(-cost, rel=1e-5)
    # No code costs less than the entropy of x itself, none at all as much as that of its means.
    shares = x.mean(axis=0)
    alone = -(shares * np.log(shares) + (1 - shares) * np.log1p(-shares)).sum()
    least = -(x * np.log(x) + (1 - x) * np.log1p(-x)).sum(axis=1).mean()
    assert least < cost < least + 0.05 * (alone - least)


def test_squared_score_and_samples():
    x = plane()
    model = Autoencoder(components=2, hidden=(), steps=500).fit(x)
    near = model.decode(model.encode(x))
    assert model.score(x) == pytest.approx(-np.square(near - x).sum(axis=1).mean(), rel=1e-5)
    drawn = model.sample(20_000, seed=1)
    np.testing.assert_allclose(drawn.mean(axis=0), x.mean(axis=0), atol=0.1)
    np.testing.assert_allclose(np.cov(drawn.T), np.cov(near.T), atol=0.15)


# VAE.


def test_divergence_from_the_prior_against_draws():
    means, log_sds = torch.tensor([[0.5, -1.0], [0, 0]]), torch.tensor([[-0.7, 0.3], [0, 0]])
    z = means + log_sds.exp() * torch.randn(400_000, 2, 2, generator=torch.manual_seed(1))
    q, p = torch.distributions.Normal(means, log_sds.exp()), torch.distributions.Normal(0, 1)
    drawn = (q.log_prob(z) - p.log_prob(z)).sum(dim=-1)
    exact = kl_to_prior(means, log_sds)
    assert exact[1] == 0
    assert abs(drawn.mean(dim=0) - exact)[0] < 4 * drawn[:, 0].std() / 400_000**0.5


def exact_vae(x, components=2):
    """A linear VAE with the weights of PPCA, and that PPCA: q(z | x) is exact."""
    ppca = PPCA(components=components).fit(x)
    model = VAE(components=components, hidden=(), steps=1).fit(x)
    scale, weights = model.scale_, ppca.weights_ / model.scale_.size
    noise = ppca.noise_ / scale.size**2
    precision = weights.T @ weights + noise * np.eye(components)
    encoder, decoder = model.networks_.encoder[0], model.networks_.decoder[0]
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.zero_()
        encoder.weight[:components] = torch.from_numpy(np.linalg.solve(precision, weights.T))
        encoder.bias[components:] = torch.from_numpy(np.log(noise / np.diag(precision)) / 2)
        decoder.weight.copy_(torch.from_numpy(weights))
        decoder.bias.zero_()
        model.networks_.log_noise.fill_(np.log(noise) / 2)
    model.noise_ = scale.size * np.sqrt(noise)
    return model, ppca


def test_bounds_touch_the_density_where_the_posterior_is_exact():
    x = 10 * plane(rows=200)
    model, ppca = exact_vae(x)
    log_prob = ppca.log_prob(x)
    for draws in (6, 64, 101):
        np.testing.assert_allclose(model.elbo(x, draws=draws), log_prob, atol=2e-3 + (draws % 2))
    for draws in (1, 50):
        np.testing.assert_allclose(model.log_prob_bound(x, draws=draws), log_prob, atol=2e-3)
    means, covariances = ppca.posterior(x)
    ours, sds = model.posterior(x)
    np.testing.assert_allclose(ours, means, atol=1e-5)
    np.testing.assert_allclose(sds**2, np.diagonal(covariances, axis1=1, axis2=2), rtol=1e-5)
    np.testing.assert_allclose(model.decode(ours), ppca.decode(means), atol=1e-4)


def test_bounds_stay_below_the_density_by_the_divergence_of_the_posterior():
    x = plane(rows=300)
    model, ppca = exact_vae(x)
    with torch.no_grad():
        model.networks_.encoder[0].bias += torch.tensor([0.1, -0.05, 0.3, -0.2])
    elbo, log_prob = model.elbo(x), ppca.log_prob(x)
    _, covariances = ppca.posterior(x[:1])
    means, log_sds = np.array([0.1, -0.05]), np.array([0.3, -0.2])
    sds = np.sqrt(np.diag(covariances[0]))
    gap = ((means / sds) ** 2 + np.exp(2 * log_sds) - 1).sum() / 2 - log_sds.sum()
    np.testing.assert_allclose(log_prob - elbo, gap, atol=1e-3)
    # Rows share their draws, so that one seed's errors are all in the same direction.
    bounds = [
        np.mean([model.log_prob_bound(x, draws=draws, seed=seed) for seed in range(seeds)])
        for draws, seeds in ((4, 200), (64, 50), (4_096, 2))
    ]
    assert elbo.mean() < bounds[0] < bounds[1] < bounds[2] < log_prob.mean() + 0.01
    assert bounds[2] == pytest.approx(log_prob.mean(), abs=0.01)


def test_samples_are_those_of_the_model():
    x = plane(rows=300)
    model, ppca = exact_vae(x)
    drawn = model.sample(50_000, seed=3)
    wanted = ppca.weights_ @ ppca.weights_.T + ppca.noise_ * np.eye(5)
    np.testing.assert_allclose(drawn.mean(axis=0), ppca.mean_, atol=0.04)
    np.testing.assert_allclose(np.cov(drawn.T), wanted, atol=0.1)


def test_a_linear_one_reaches_ppca():
    x = plane(noise=0.5, rows=1_000)
    model = VAE(components=2, hidden=(), steps=1_500, weight_decay=0.0).fit(x)
    ppca = PPCA(components=2).fit(trained_on(x, model))
    assert model.score(x) == pytest.approx(ppca.score(x), abs=0.02)
    assert model.noise_ == pytest.approx(np.sqrt(ppca.noise_), rel=0.02)
    codes, wanted = model.encode(x), ppca.encode(x)
    turn = np.linalg.lstsq(wanted, codes, rcond=None)[0]
    np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=0.1)


def test_blocks_of_rows_make_no_difference(monkeypatch):
    x = plane(rows=50)
    model = VAE(components=2, hidden=(8,), steps=5).fit(x)
    whole = model.elbo(x), model.log_prob_bound(x, draws=16)
    monkeypatch.setattr("sbi_kit.latent.vae._TOGETHER", 7 * 16 * 5)
    np.testing.assert_allclose(model.elbo(x), whole[0], rtol=1e-4)
    np.testing.assert_allclose(model.log_prob_bound(x, draws=16), whole[1], rtol=1e-4)


def test_figures_of_a_row_are_its_own_and_repeat():
    x = plane(rows=100)
    model = VAE(components=2, hidden=(8,), steps=50).fit(x)
    np.testing.assert_allclose(model.elbo(x)[40:50], model.elbo(x[40:50]), rtol=1e-4)
    np.testing.assert_array_equal(model.elbo(x, seed=1), model.elbo(x, seed=1))
    assert (model.elbo(x, seed=1) != model.elbo(x, seed=2)).any()
    bounds = model.log_prob_bound(x, draws=32)
    np.testing.assert_allclose(bounds[40:50], model.log_prob_bound(x[40:50], draws=32), rtol=1e-4)
    assert bounds.mean() > model.elbo(x).mean()


def test_a_bernoulli_decoder_that_sees_no_code_has_the_entropy_of_its_columns():
    x = load_digits().data / 16
    order = np.random.RandomState(0).permutation(len(x))
    training, test = x[order[:1437]], x[order[1437:]]
    with pytest.warns(UserWarning, match="constant '0', '32', '39'"):
        model = VAE(components=2, likelihood="bernoulli", hidden=(), steps=1).fit(training)
    with torch.no_grad():
        model.networks_.encoder[0].weight.zero_()
        model.networks_.encoder[0].bias.zero_()
        model.networks_.decoder[0].weight.zero_()
        shares = training.mean(axis=0).clip(1e-3, 1 - 1e-3)
        model.networks_.decoder[0].bias.copy_(torch.from_numpy(np.log(shares / (1 - shares))))
    wanted = (test * np.log(shares) + (1 - test) * np.log1p(-shares)).sum(axis=1)
    np.testing.assert_allclose(model.elbo(test, draws=3), wanted, rtol=1e-5)
    np.testing.assert_allclose(model.log_prob_bound(test, draws=3), wanted, rtol=1e-5)
    assert model.score(test) == pytest.approx(-27.135, abs=6e-4)
    drawn = model.sample(4_000, seed=1)
    assert set(np.unique(drawn)) == {0.0, 1.0}
    np.testing.assert_allclose(drawn.mean(axis=0), shares, atol=0.05)
    assert np.isnan(model.noise_)


def test_bernoulli_learns():
    x = bits()
    model = VAE(components=2, likelihood="bernoulli", hidden=(16,), steps=500).fit(x)
    shares = x.mean(axis=0)
    alone = (x * np.log(shares) + (1 - x) * np.log1p(-shares)).sum(axis=1).mean()
    assert model.score(x) > alone + 0.5
    assert model.log_prob_bound(x, draws=200).mean() > model.score(x)


# Both.


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(components=2, hidden=(8,), steps=50),
        Autoencoder(components=2, hidden=(8,), steps=50, noise=0.5, activation="tanh"),
        VAE(components=2, hidden=(8,), steps=50, activation="relu"),
        VAE(components=3, hidden=(), steps=50),
    ],
)
def test_they_keep_the_contract_and_lend_their_encoder(model):
    x = plane(rows=200)
    assert isinstance(model, Latent)
    check_latent(model, x)
    encoder = model.encoder()
    assert all(isinstance(layer, (nn.Linear, nn.Tanh, nn.ReLU, nn.SiLU)) for layer in encoder)
    assert not any(weight.requires_grad for weight in encoder.parameters())
    out = encoder(torch.from_numpy(x.astype(np.float32)))
    assert out.shape == (200, model.components)
    np.testing.assert_allclose(out, model.encode(x), atol=1e-4)
    widths = [layer.out_features for layer in encoder if isinstance(layer, nn.Linear)]
    assert widths == [*model.hidden, model.components]
    with torch.no_grad():
        encoder[0].weight.zero_()
    assert np.abs(model.encode(x)).max() > 0.01  # it is a copy


@pytest.mark.parametrize(
    "model",
    [
        Autoencoder(components=2, loss="cross_entropy", hidden=(8,), steps=50),
        VAE(components=2, likelihood="bernoulli", hidden=(8,), steps=50),
    ],
)
def test_they_keep_the_contract_with_shares(model):
    check_latent(model, bits(200))


@pytest.mark.parametrize("make", [Autoencoder, VAE])
def test_units_make_no_difference(make):
    x = plane(rows=100)
    small, large = (make(components=2, hidden=(8,), steps=60).fit(x * unit) for unit in (1, 1e6))
    np.testing.assert_allclose(small.encode(x), large.encode(1e6 * x), atol=1e-3)
    np.testing.assert_allclose(
        small.decode(small.encode(x)), large.decode(large.encode(1e6 * x)) / 1e6, atol=1e-3
    )
    change = small.score(x) - large.score(1e6 * x) if make is VAE else 0.0
    assert change == pytest.approx(5 * np.log(1e6) if make is VAE else 0, abs=1e-2)


@pytest.mark.parametrize("make", [Autoencoder, VAE])
def test_a_constant_column_is_named_and_decoded(make):
    x = np.column_stack([plane(rows=200), np.full(200, 7.0)])
    with pytest.warns(UserWarning, match="got constant '5', which"):
        model = make(components=2, hidden=(), steps=500).fit(x)
    np.testing.assert_allclose(model.decode(model.encode(x))[:, 5], 7, atol=0.1)


@pytest.mark.parametrize("make", [Autoencoder, VAE])
def test_training_changes_no_global_state_and_says_how_it_went(make):
    torch.manual_seed(3)
    before = torch.get_rng_state()
    model = make(components=2, hidden=(8,), steps=300).fit(plane(rows=200))
    assert torch.equal(before, torch.get_rng_state())
    steps, training, validation = np.array(model.history_).T
    assert steps.tolist() == [100, 200, 300]
    assert training[-1] < training[0]
    assert validation[-1] < validation[0]


FLAWED = plane(rows=50)
FLAWED[3, 1] = np.nan
HALVES = np.full((50, 5), 0.5) + np.eye(50, 5)
SHARES = {Autoencoder: {"loss": "cross_entropy"}, VAE: {"likelihood": "bernoulli"}}


def quick(make, x=None, **settings):
    settings = {"components": 2, "hidden": (), "steps": 1, **settings}
    return make(**settings).fit(plane(rows=50) if x is None else x)


@pytest.mark.parametrize("make", [Autoencoder, VAE])
@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda make: quick(make, components=5), BadValue, r"components .* in \[1, 4\]; got 5"),
        (lambda make: quick(make, FLAWED), BadValue, "nan at row 3 of column '1'.*use PPCA"),
        (lambda make: quick(make).encode(FLAWED), BadValue, "nan at row 3 of column '1'"),
        (lambda make: quick(make).score(FLAWED[:, :4]), BadValue, r"\(rows, 5\); got \(50, 4\)"),
        (lambda make: quick(make).decode([[0, 0, 0]]), BadValue, r"z of shape \(rows, 2\); got"),
        (lambda make: quick(make).sample(0, seed=1), BadValue, "rows as an integer >= 1; got 0"),
        (lambda make: quick(make, np.ones((50, 5))), BadValue, "got constant ones alone"),
        (lambda make: quick(make, HALVES, **SHARES[make]), BadValue, r"in \[0, 1\].* row 0 of col"),
        (
            lambda make: quick(make, bits(50), **SHARES[make]).encode(3 * bits(50)),
            BadValue,
            r"x in \[0, 1\], as a Bernoulli likelihood needs; got",
        ),
        (lambda make: quick(make, hidden=64), BadType, "hidden as a tuple .* got 64; pass"),
        (lambda make: quick(make, hidden=(8, 0)), BadValue, "size of a hidden layer .* got 0"),
        (lambda make: quick(make, activation="gelo"), UnknownName, "relu, silu, tanh.*'gelo'"),
        (lambda make: quick(make, steps=0), BadValue, "steps"),
        (lambda make: quick(make, batch_size=0), BadValue, "batch_size"),
        (lambda make: quick(make, learning_rate=-1), BadValue, "learning_rate"),
        (lambda make: quick(make, weight_decay=-1), BadValue, "weight_decay"),
        (lambda make: quick(make, patience=0), BadValue, "patience"),
        (lambda make: quick(make, share=0), BadValue, "share"),
        (lambda make: quick(make, seed=-1), BadValue, "seed"),
        (lambda make: make(components=2).encode(FLAWED), BadValue, "got one that was not; call"),
        (lambda make: make(components=2).decode([[0, 0]]), BadValue, "got one that was not; call"),
        (lambda make: make(components=2).score(FLAWED), BadValue, "got one that was not; call"),
        (lambda make: make(components=2).sample(1, seed=1), BadValue, "got one that was not; call"),
        (lambda make: make(components=2).encoder(), BadValue, "got one that was not; call"),
    ],
)
def test_refusals(make, call, error, message):
    with pytest.raises(error, match=message):
        call(make)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: quick(Autoencoder, loss="squares"), UnknownName, "mean 'squared'"),
        (lambda: quick(Autoencoder, noise=-1), BadValue, "noise"),
        (lambda: quick(VAE, likelihood="normal"), UnknownName, "bernoulli, gaussian"),
        (lambda: quick(VAE).elbo(plane(), draws=0), BadValue, "draws"),
        (lambda: quick(VAE).log_prob_bound(plane(), draws=1.5), BadType, "draws"),
        (lambda: VAE(components=1).elbo(plane()), BadValue, "a fitted VAE"),
        (lambda: VAE(components=1).log_prob_bound(plane()), BadValue, "a fitted VAE"),
        (lambda: VAE(components=1).posterior(plane()), BadValue, "a fitted VAE"),
    ],
)
def test_other_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


# Digits, pixels in [0, 1]: 1437 to learn from, of which a tenth validates, and 360 to test.


@pytest.fixture(scope="module")
def digits():
    x = load_digits().data / 16
    order = np.random.RandomState(0).permutation(len(x))
    return x[order[:1437]], x[order[1437:]]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Columns that vary")
def test_probabilistic_components_of_digits_are_those_of_the_reference(digits):
    training, test = digits
    ppca = PPCA(components=2).fit(training)
    assert ppca.score(training) == pytest.approx(0.0092, abs=1e-4)
    assert ppca.score(test) == pytest.approx(-0.0547, abs=1e-4)
    ten = PPCA(components=10).fit(training)
    assert ten.score(training) == pytest.approx(17.497, abs=1e-3)
    assert ten.score(test) == pytest.approx(17.024, abs=1e-3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Columns that vary")
@pytest.mark.parametrize("seed", range(4))
def test_a_linear_vae_of_digits_reaches_ppca(digits, seed):
    """The optimum of the very rows it is trained on; which these are moves it by .016 (sd)."""
    training, test = digits
    model = VAE(components=2, hidden=(), batch_size=512, seed=seed).fit(training)
    same = PPCA(components=2).fit(trained_on(training, model))
    assert model.noise_ == pytest.approx(0.233, abs=1e-3)
    assert model.score(training) == pytest.approx(same.score(training), abs=0.005)
    assert model.score(test) == pytest.approx(same.score(test), abs=0.005)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Columns that vary")
@pytest.mark.parametrize(
    ("settings", "least"),
    [
        ({"components": 2}, 12.3),
        ({"components": 10}, 30.9),
        ({"components": 2, "likelihood": "bernoulli"}, -24.45),
        ({"components": 10, "likelihood": "bernoulli"}, -23.96),
    ],
)
def test_vaes_of_digits_as_reference(digits, settings, least):
    training, test = digits
    model = VAE(**settings).fit(training)
    assert least < model.score(test) < model.log_prob_bound(test).mean()
