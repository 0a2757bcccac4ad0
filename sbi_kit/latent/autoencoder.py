"""Autoencoder: a network from a row to a short code, and one back (Hinton & Salakhutdinov 2006).

They minimise the mean over rows of |x − d(e(x))|², or the cross-entropy − Σ x log d + (1 − x)
log (1 − d) for columns in [0, 1]. A denoising one is shown rows with noise added and is to return
those without (Vincent et al. 2008). Without hidden layers and with squared errors, it finds the
subspace of PCA (Baldi & Hornik 1989), though not its axes.
"""

from typing import Self

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from sbi_kit.checks import expect_integer, expect_name, expect_number
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

LOSSES = ("squared", "cross_entropy")


class Autoencoder:
    """A nonlinear PCA.

    Args:
        components: Size of a code, below the number of columns.
        loss: "squared", or "cross_entropy" for columns in [0, 1].
        hidden: Sizes of the encoder's hidden layers, the decoder's are the reverse; () is linear.
        activation: "relu", "silu" or "tanh".
        noise: Sd of the noise of a denoising autoencoder, in units of the root mean square
            deviation of all columns from their means; zero adds none.
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
        history_: One (step, training loss, validation loss) per evaluation; losses are per column
            and, if squared, of scaled rows.
        code_mean_: Mean of the training rows' codes, shape (components,).
        code_covariance_: Their covariance, shape (components, components).
    """

    def __init__(
        self,
        *,
        components: int,
        loss: str = "squared",
        hidden: tuple[int, ...] = (64, 64),
        activation: str = "silu",
        noise: float = 0.0,
        steps: int = 10_000,
        batch_size: int = 128,
        learning_rate: float = 5e-3,
        weight_decay: float = 0.0,
        patience: int = 10,
        share: float = 0.1,
        seed: int = 0,
    ) -> None:
        self.components = components
        self.loss = loss
        self.hidden = hidden
        self.activation = activation
        self.noise = noise
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
                for cross-entropy, not in [0, 1]; or training failed.

        Warns:
            UserWarning: A column is constant.
        """
        array = expect_training(x)
        if expect_name("loss", self.loss, LOSSES) == "cross_entropy":
            expect_unit_range(x, array)
        components = expect_components(self.components, array.shape[1])
        noise = expect_number("noise", self.noise, low=0)
        sizes = array.shape[1], *expect_hidden(self.hidden), components
        scale = Scale.of(array)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(torch_seed(self.seed, "autoencoder: weights"))
            encoder = build_layers(sizes, self.activation)
            decoder = build_layers(sizes[::-1], self.activation)
        if self.loss == "cross_entropy":
            start_at_shares(decoder, array)
        networks = nn.ModuleDict({"encoder": encoder, "decoder": decoder})

        def losses(rows: Tensor, normal: Tensor) -> Tensor:
            shown = rows + noise * normal if noise else rows
            return self._losses(decoder(encoder(shown)), rows, scale)

        width = array.shape[1] if noise else 0
        state = self._training().run(networks, losses, scale.inwards(array), width)
        self.networks_, self.scale_, self.history_ = networks, scale, state.evaluations
        codes = self._encode(array)
        self.code_mean_: Array = codes.mean(axis=0)
        self.code_covariance_: Array = np.atleast_2d(np.cov(codes, rowvar=False, bias=True))
        return self

    def encode(self, x: ArrayLike) -> Array:
        """Codes of rows x (rows, columns), shape (rows, components)."""
        return self._encode(self._rows(x))

    def decode(self, z: ArrayLike) -> Array:
        """Rows of codes z (rows, components), shape (rows, columns); in [0, 1] by cross-entropy."""
        expect_fitted(self)
        out = self._decode(expect_codes(z, len(self.code_mean_)))
        if self.loss == "cross_entropy":
            return as_array(torch.sigmoid(out))
        return self.scale_.outwards(out)

    def score(self, x: ArrayLike) -> float:
        """Less the mean over rows of the squared distance or cross-entropy: no density."""
        rows = self._rows(x)
        out = self._decode(self._encode(rows))
        losses = as_array(self._losses(out, self.scale_.inwards(rows), self.scale_))
        unit = 1.0 if self.loss == "cross_entropy" else self.scale_.size**2
        return -float(losses.mean() * rows.shape[1] * unit)

    def sample(self, rows: int, *, seed: int) -> Array:
        """Decode codes drawn from the normal with the training codes' mean and covariance.

        An autoencoder has no density, so these resemble data as far as its codes are normal.
        """
        expect_fitted(self)
        rng = numpy_stream(seed, "autoencoder: sample")
        size = expect_integer("rows", rows, low=1)
        return self.decode(
            rng.multivariate_normal(self.code_mean_, self.code_covariance_, size, method="svd")
        )

    def encoder(self) -> nn.Sequential:
        """A frozen network of `encode`, for rows in float32 (b, columns)."""
        expect_fitted(self)
        return frozen_encoder(self._part("encoder"), self.scale_, len(self.code_mean_))

    def _training(self) -> Training:
        return Training(
            steps=self.steps,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            weight_decay=self.weight_decay,
            patience=self.patience,
            share=self.share,
            seed=self.seed,
        )

    def _losses(self, out: Tensor, rows: Tensor, scale: Scale) -> Tensor:
        """Loss of each of some scaled rows, shape (b,), the mean over columns."""
        if self.loss == "squared":
            return (out - rows).square().mean(dim=1)
        losses = binary_cross_entropy_with_logits(out, scale.shares(rows), reduction="none")
        return losses.mean(dim=1)

    def _encode(self, rows: Array) -> Array:
        with torch.inference_mode():
            return as_array(self._part("encoder")(self.scale_.inwards(rows)))

    def _decode(self, codes: Array) -> Tensor:
        with torch.inference_mode():
            out: Tensor = self._part("decoder")(as_tensor(codes))
        return out

    def _part(self, name: str) -> nn.Sequential:
        part = self.networks_[name]
        assert isinstance(part, nn.Sequential)
        return part

    def _rows(self, x: ArrayLike) -> Array:
        expect_fitted(self)
        rows = expect_rows(x, columns=len(self.scale_.centre))
        return expect_unit_range(x, rows) if self.loss == "cross_entropy" else rows
