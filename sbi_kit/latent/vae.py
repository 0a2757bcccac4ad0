"""Variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114).

A code z ~ N(0, I) of few components, a decoder network that gives p(x | z), and an encoder network
that gives q(z | x) = N(m(x), diag s(x)²). Both are trained together to maximise the mean over rows
of the evidence lower bound

    ELBO(x) = E_q log p(x | z) − KL(q(z | x) | N(0, I)) ≤ log p(x),

the expectation by one draw z = m + s ε per row and step, the divergence in closed form. p(x | z) is
N(d(z), σ² I) with one σ for all columns, learned with the rest, or a Bernoulli probability d(z) for
each of columns in [0, 1]. Without hidden layers the Gaussian one is PPCA (Lucas et al. 2019,
arXiv:1911.02469). With more draws the bound can be brought closer to log p(x) by importance
weights, log mean p(x, z) / q(z | x) (Burda, Grosse & Salakhutdinov 2016, arXiv:1509.00519).

Both are estimated with the same ε for all rows, so that a row's figure does not depend on the rows
beside it. Those of the ELBO come in pairs ±ε and have the moments of a standard normal exactly, as
errors shared by all rows would not average out; of a linear Gaussian model the result is exact.
"""

import math
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sbi_kit.checks import expect_integer, expect_name
from sbi_kit.contracts import Array
from sbi_kit.latent.networks import (
    Scale,
    Training,
    as_array,
    as_tensor,
    build_layers,
    expect_hidden,
    frozen_encoder,
    start_at_shares,
)
from sbi_kit.latent.table import (
    expect_codes,
    expect_components,
    expect_fitted,
    expect_rows,
    expect_training,
    expect_unit_range,
)
from sbi_kit.seeds import numpy_stream, torch_seed

LIKELIHOODS = ("gaussian", "bernoulli")
_TOGETHER = 2**22  # decoded numbers at a time
_LOG_TWO_PI = math.log(2 * math.pi)


class VAE:
    """Variational autoencoder.

    Args:
        components: Size of a code, below the number of columns.
        likelihood: "gaussian", or "bernoulli" for columns in [0, 1].
        hidden: Sizes of the encoder's hidden layers, the decoder's are the reverse; () is linear.
        activation: "relu", "silu" or "tanh".
        steps: Gradient steps at most.
        batch_size: Rows per step.
        learning_rate: The highest rate.
        weight_decay: AdamW's decay.
        patience: Evaluations, one in 100 steps, without improvement before training cools down.
        share: Share of the rows for validation.
        seed: Seed of split, weights, order and noise.

    Attributes:
        networks_: Encoder and decoder, which see scaled rows.
        scale_: How rows are scaled.
        noise_: σ in the data's units; NaN of a Bernoulli one.
        history_: One (step, training loss, validation loss) per evaluation; losses are minus the
            bound per column, if Gaussian of scaled rows.
    """

    def __init__(
        self,
        *,
        components: int,
        likelihood: str = "gaussian",
        hidden: tuple[int, ...] = (64, 64),
        activation: str = "silu",
        steps: int = 20_000,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.01,
        patience: int = 10,
        share: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.components = components
        self.likelihood = likelihood
        self.hidden = hidden
        self.activation = activation
        self.steps = steps
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.share = share
        self.seed = seed

    def fit(self, x: ArrayLike) -> Self:
        """Learn from finite rows x (rows, columns).

        Raises:
            BadType, BadValue, UnknownName: A setting is out of its range; x is no such table, or,
                for a Bernoulli likelihood, not in [0, 1]; or training failed.

        Warns:
            UserWarning: A column is constant.
        """
        array = expect_training(x)
        bernoulli = expect_name("likelihood", self.likelihood, LIKELIHOODS) == "bernoulli"
        if bernoulli:
            expect_unit_range(x, array)
        components = expect_components(self.components, array.shape[1])
        sizes = array.shape[1], *expect_hidden(self.hidden)
        scale = Scale.of(array)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self.seed, "vae: weights"))
            networks = _Networks(sizes, components, self.activation, scale, bernoulli=bernoulli)
        if bernoulli:
            start_at_shares(networks.decoder, array)
        training = Training(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            share=self.share,
            seed=self.seed,
        )
        state = training.run(networks, networks.loss, scale.inwards(array), components)
        self.networks_, self.scale_, self.history_ = networks, scale, state.evaluations
        self.noise_: float = math.nan if bernoulli else scale.size * networks.log_noise.exp().item()
        return self

    def posterior(self, x: ArrayLike) -> tuple[Array, Array]:
        """Means and sds of q(z | x) for rows x (rows, columns), both (rows, components)."""
        with torch.inference_mode():
            means, log_sds = self._fitted().code(self.scale_.inwards(self._rows(x)))
        return as_array(means), as_array(log_sds.exp())

    def encode(self, x: ArrayLike) -> Array:
        """Means of q(z | x) for rows x (rows, columns), shape (rows, components)."""
        return self.posterior(x)[0]

    def decode(self, z: ArrayLike) -> Array:
        """Means of p(x | z) for codes z (rows, components), shape (rows, columns)."""
        networks = self._fitted()
        codes = as_tensor(expect_codes(z, networks.components))
        with torch.inference_mode():
            out = networks.decoder(codes)
        return as_array(torch.sigmoid(out)) if networks.bernoulli else self.scale_.outwards(out)

    def elbo(self, x: ArrayLike, *, draws: int = 64, seed: int = 0) -> Array:
        """Evidence lower bound of each row of x (rows, columns) in nats, shape (rows,).

        Args:
            x: The rows.
            draws: Draws of ε for the expectation of log p(x | z).
            seed: Their seed.

        Raises:
            BadType, BadValue: x does not fit, or draws is below one.
        """
        parts = []
        width = self._fitted().components
        rng = numpy_stream(seed, "vae: elbo")
        normal = _matched_normals(expect_integer("draws", draws, low=1), width, rng)
        for means, log_sds, log_likelihoods in self._terms(x, normal):
            parts.append(log_likelihoods.mean(dim=1) - kl_to_prior(means, log_sds))
        return as_array(torch.cat(parts))

    def log_prob_bound(self, x: ArrayLike, *, draws: int = 1_024, seed: int = 0) -> Array:
        """Importance-weighted bound of log p of each row of x, in nats, shape (rows,).

        Args:
            x: The rows (rows, columns).
            draws: Draws per row; the more, the closer the bound is to log p.
            seed: Their seed.

        Raises:
            BadType, BadValue: x does not fit, or draws is below one.
        """
        parts = []
        shape = expect_integer("draws", draws, low=1), self._fitted().components
        normal = as_tensor(numpy_stream(seed, "vae: bound").normal(size=shape))
        for means, log_sds, log_likelihoods in self._terms(x, normal):
            z = means[:, None] + log_sds.exp()[:, None] * normal
            # log p(z) − log q(z | x): the constants cancel.
            ratios = (normal.square() - z.square()).sum(dim=2) / 2 + log_sds.sum(dim=1)[:, None]
            parts.append(torch.logsumexp(log_likelihoods + ratios, dim=1) - math.log(draws))
        return as_array(torch.cat(parts))

    def score(self, x: ArrayLike) -> float:
        """Mean over rows of the evidence lower bound, in nats."""
        return float(self.elbo(x).mean())

    def sample(self, rows: int, *, seed: int) -> Array:
        """Draw rows of the model, shape (rows, columns), the noise of p(x | z) included."""
        networks = self._fitted()
        size = expect_integer("rows", rows, low=1)
        rng = numpy_stream(seed, "vae: sample")
        means = self.decode(rng.normal(size=(size, networks.components)))
        if networks.bernoulli:
            return (rng.random(means.shape) < means).astype(np.float64)
        drawn: Array = means + rng.normal(scale=self.noise_, size=means.shape)
        return drawn

    def encoder(self) -> nn.Sequential:
        """A frozen network of `encode`, for rows in float32 (b, columns)."""
        networks = self._fitted()
        return frozen_encoder(networks.encoder, self.scale_, networks.components)

    def _terms(self, x: ArrayLike, normal: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Of some rows at a time: m (b, k), log s (b, k), log p(x | z) (b, draws)."""
        networks, rows = self._fitted(), self._rows(x)
        unit = 0.0 if networks.bernoulli else rows.shape[1] * math.log(self.scale_.size)
        size = max(1, _TOGETHER // (len(normal) * rows.shape[1]))
        for start in range(0, len(rows), size):
            part = self.scale_.inwards(rows[start : start + size])
            with torch.inference_mode():
                means, log_sds = networks.code(part)
                z = means[:, None] + log_sds.exp()[:, None] * normal
                log_likelihoods = networks.log_likelihood(part[:, None], z) - unit
            yield means, log_sds, log_likelihoods

    def _fitted(self) -> "_Networks":
        expect_fitted(self)
        return self.networks_

    def _rows(self, x: ArrayLike) -> Array:
        rows = expect_rows(x, columns=len(self.scale_.centre))
        return expect_unit_range(x, rows) if self.networks_.bernoulli else rows


def kl_to_prior(means: Tensor, log_sds: Tensor) -> Tensor:
    """KL(N(m, diag s²) | N(0, I)) = Σ (m² + s² − 1) / 2 − log s for (b, k) each, shape (b,)."""
    terms = (means.square() + (2 * log_sds).exp() - 1) / 2 - log_sds
    total: Tensor = terms.sum(dim=-1)
    return total


class _Networks(nn.Module):
    """Encoder, decoder and noise, of scaled rows."""

    def __init__(
        self,
        sizes: tuple[int, ...],
        components: int,
        activation: str,
        scale: Scale,
        *,
        bernoulli: bool,
    ) -> None:
        super().__init__()
        self.components, self.bernoulli = components, bernoulli
        self.encoder = build_layers((*sizes, 2 * components), activation)
        self.decoder = build_layers((components, *sizes[::-1]), activation)
        self.log_noise = nn.Parameter(torch.zeros(()), requires_grad=not bernoulli)
        self.scale = scale

    def code(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means and log sds of q(z | x), (b, components) each."""
        means, log_sds = self.encoder(x).chunk(2, dim=-1)
        return means, log_sds

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x | z) of scaled rows x (..., columns), shape (...)."""
        out = self.decoder(z)
        if self.bernoulli:
            target = self.scale.shares(x).expand_as(out)
            terms = -binary_cross_entropy_with_logits(out, target, reduction="none")
        else:
            residuals = (x - out) * (-self.log_noise).exp()
            terms = -(residuals.square() + 2 * self.log_noise + _LOG_TWO_PI) / 2
        total: Tensor = terms.sum(dim=-1)
        return total

    def loss(self, x: Tensor, normal: Tensor) -> Tensor:
        """Minus the bound per column of each row, shape (b,)."""
        means, log_sds = self.code(x)
        log_likelihoods = self.log_likelihood(x, means + log_sds.exp() * normal)
        return (kl_to_prior(means, log_sds) - log_likelihoods) / x.shape[1]


def _matched_normals(draws: int, width: int, rng: np.random.Generator) -> Tensor:
    """Pairs ±ε, shape (draws, width), with covariance I if they are more than `width`."""
    half = rng.normal(size=((draws + 1) // 2, width))
    if len(half) > width:
        factor = np.linalg.cholesky(half.T @ half / len(half))
        half = np.linalg.solve(factor, half.T).T
    return as_tensor(np.concatenate([half, -half])[:draws])
