"""The amortized posterior: trained once, it answers for every dataset.

With u the whitened parameters and f(x) the features of a dataset, q(u | f(x)) is a conditional
flow, or the equal mixture of the flows of an ensemble (`sbi_kit.mixture`). Draws are u ~ q mapped
back through the prior, so they never leave its support.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from os import PathLike
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from sbi_kit import contracts, mixture
from sbi_kit.arviz_bridge import InferenceData
from sbi_kit.certificate import UNCHECKED, Certificate
from sbi_kit.checks import (
    BadValue,
    expect_integer,
    show_names,
)
from sbi_kit.contracts import Array
from sbi_kit.data import AnyLayout, Datasets, layout_from_dict, read
from sbi_kit.device import expect_device
from sbi_kit.encoder import Encoder
from sbi_kit.familiarity import Familiarity
from sbi_kit.network import Architecture, Network, build_network, shapes_of
from sbi_kit.observing import density_of, infer_observed, screen
from sbi_kit.prior import prior_from_dict
from sbi_kit.saving import save_posterior
from sbi_kit.sealed import RESTORE
from sbi_kit.summary.encoded import EncodedStandardizer, standardizer_from

METHOD = "npe"  # neural posterior estimation


@final
@dataclass(frozen=True)
class NeuralPosterior:
    """An amortized posterior; `fit` makes one, `load` reads one back.

    Attributes:
        prior: The prior it was trained under.
        data: The layout of one dataset.
        simulator: Name and settings of the simulator.
        architecture: Sizes of a network; the members of an ensemble are alike.
        encoder: The way of a dataset to its summary, with the networks that hold the flows.
        familiarity: What new data are compared with.
        history: What it was trained on, how, and the losses.
        model: The simulator itself, if this process had it.
        certificate: What a calibration check found when its directory was certified; None if there
            was no check, or the posterior was not loaded.
    """

    prior: contracts.Prior
    data: AnyLayout
    simulator: dict[str, Any]
    architecture: Architecture
    encoder: Encoder
    familiarity: Familiarity
    history: dict[str, Any]
    model: contracts.Simulator | None = None
    certificate: Certificate | None = None

    def __str__(self) -> str:
        what = (
            f"Posterior of {show_names(self.prior.names)}, given data of {self.simulator['name']}"
        )
        return f"{what}\n{self.certificate or UNCHECKED}"

    def sample(
        self,
        x: Any,
        *,
        draws: int,
        seed: int,
        context: Mapping[str, ArrayLike] | None = None,
    ) -> Array:
        """Draw from the posterior of every dataset.

        The draws of a dataset depend on the seed and its place in the batch, not on its neighbours.

        Args:
            x: One dataset or several, in any form that `sbi_kit.data.read` accepts.
            draws: Draws per dataset.
            seed: Seed of the draws.
            context: What is known of the datasets besides, by name, one value for all or one each;
                needed where the layout declares it and it does not stand beside the data.

        Returns:
            Parameters in the prior's units, shape (b, draws, d).

        Raises:
            BadValue, BadType: The data do not fit the layout, or draws or seed are out of range.
            UnknownName: The layout declares no such context.

        Warns:
            UserWarning: A dataset is larger or smaller than any trained on, its context is outside
                what was trained on, or it is unlike all of them.
        """
        size = expect_integer("draws", draws, low=1)
        features = self._features(x, context)
        theta = np.empty((len(features[0]), size, len(self.prior.names)))
        for place, u in mixture.draw(self.encoder.networks, features, size, seed):
            theta[place] = self.prior.unwhiten(u.astype(np.float64))
        return theta

    def log_prob(
        self, theta: ArrayLike, x: Any, *, context: Mapping[str, ArrayLike] | None = None
    ) -> Array:
        """Log density of parameters under the posterior of each dataset.

        Args:
            theta: Parameters in the prior's units: one vector per dataset (b, d), or several
                (b, draws, d).
            x: The b datasets.
            context: As for `sample`.

        Returns:
            Log densities, shape (b,) or (b, draws); -inf outside the prior's support.

        Raises:
            BadValue, BadType: As for `sample`, or theta has another shape or holds NaN.
        """
        features = self._features(x, context)
        return density_of(
            self.prior,
            theta,
            len(features[0]),
            lambda u: mixture.log_density(self.encoder.networks, features, u),
        )

    def summarise(self, x: Any, context: Mapping[str, ArrayLike] | None = None) -> Array:
        """The features that the summary network learned.

        Args:
            x: One dataset or several, in any form that `sample` accepts.
            context: As for `sample`.

        Returns:
            Features, those of all members of an ensemble side by side, shape (b, f).

        Raises:
            BadValue, BadType: As for `sample`.
        """
        features = self.encoder.summarise(read(x, self.data, context))
        return features.cpu().double().numpy()

    def estimate(
        self,
        x: Any,
        context: Mapping[str, ArrayLike] | None = None,
        *,
        draws: int = 200,
        seed: int = 0,
    ) -> Array:
        """Posterior means of the whitened parameters, the summaries that `fit_abc` can learn.

        Args:
            x: One dataset or several, in any form that `sample` accepts.
            context: As for `sample`.
            draws: Draws that each mean is taken of.
            seed: Their seed.

        Returns:
            Means, shape (b, d).

        Raises:
            BadValue, BadType: As for `sample`.
        """
        size = expect_integer("draws", draws, low=1)
        summaries = self.encoder.summarise(read(x, self.data, context))
        features = mixture.contexts(self.encoder.networks, summaries)
        total = np.zeros((len(summaries), len(self.prior.names)))
        for (rows, _), u in mixture.draw(self.encoder.networks, features, size, seed):
            total[rows] += u.sum(axis=1, dtype=np.float64)
        return total / size

    def infer(
        self,
        x: Any,
        *,
        draws: int,
        seed: int,
        predictive: int = 500,
        model: contracts.Simulator | None = None,
        context: Mapping[str, ArrayLike] | None = None,
    ) -> InferenceData:
        """Infer the parameters behind observed data, as ArviZ data.

        Args:
            x: One dataset or several, in any form that `sample` accepts.
            draws: Draws per dataset.
            seed: Seed of all draws.
            predictive: How many of the draws, and of draws of the prior, to replicate data from; 0
                replicates none.
            model: The simulator to replicate with; None takes the one it was trained with.
            context: As for `sample`; data are replicated with the same.

        Returns:
            `arviz.InferenceData` or, with ArviZ 1.x, `xarray.DataTree`: groups posterior, prior,
            observed_data, constant_data (n, context), posterior_predictive, prior_predictive and
            sample_stats: log_q; the misspecification score of each dataset and its p-value; of
            several datasets together, their discrepancy from simulations (MMD²) and its p-value;
            weights and k-hat where the model replicates data and has a `log_likelihood`.

        Raises:
            BadValue, BadType: As for `sample`, or the model has other parameters or data.

        Warns:
            UserWarning: As for `sample`; or the simulator is not installed here, or fails for draws
                of the prior, so that groups are left out.
        """
        observed = read(x, self.data, context)
        seen = self.encoder.describe(observed, self.encoder.summarise(observed))
        if not isinstance(x, Datasets):
            screen(self, observed, seen, stacklevel=2)
        return infer_observed(
            self, observed, seen, draws=draws, predictive=predictive, seed=seed, model=model
        )

    def on(self, device: str) -> "NeuralPosterior":
        """The same posterior, asked on a device; what its methods return is in numpy as ever.

        Draws of a seed are those of the CPU up to rounding, and its file is the same.

        Args:
            device: "cpu", or "cuda" or "cuda:1" for a GPU.

        Raises:
            BadType, BadValue: It is no device, or torch has no such GPU.
        """
        return replace(self, encoder=self.encoder.on(expect_device(device)))

    def save(self, path: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the posterior to a directory that `load` reads, its certificate with it.

        Raises:
            BadValue: The directory holds something already and `overwrite` is false.
            BadType: The prior is not one of `sbi_kit.Prior`, and cannot be written.
        """
        front = self.encoder.standardizer
        document: dict[str, Any] = {"architecture": asdict(self.architecture)}
        if isinstance(front, EncodedStandardizer):
            document["activation"] = front.activation
        if self.members > 1:
            document["members"] = self.members
        save_posterior(
            self,
            path,
            method=METHOD,
            document=document,
            weights={
                f"{part}.{name}": weight
                for part, network in zip(_parts(self.members), self.encoder.networks, strict=True)
                for name, weight in network.state_dict().items()
            },
            arrays={"standardizer": front.arrays(), "familiarity": self.familiarity.arrays()},
            packages=("sbi_kit", "torch", "nflows", "numpy"),
            overwrite=overwrite,
        )

    @property
    def units(self) -> dict[str, str]:
        """Units of parameters, columns and context by name, as far as its simulator says so."""
        return dict(self.simulator.get("units", {}))

    @property
    def made_of(self) -> dict[str, str]:
        """What it is made of, in words, for a report."""
        sizes = asdict(self.architecture).items()
        return {
            "network": ", ".join(f"{name} {value}" for name, value in sizes),
            "networks": str(self.members),
        }

    @property
    def members(self) -> int:
        """Number of networks whose posteriors it mixes."""
        return len(self.encoder.networks)

    def _features(self, x: Any, context: Mapping[str, ArrayLike] | None) -> list[Tensor]:
        """What each flow is conditioned on, shape (b, width); the door for all data."""
        observed = read(x, self.data, context)
        summaries = self.encoder.summarise(observed)
        if not isinstance(x, Datasets):  # those come from a bank or were screened before
            screen(self, observed, self.encoder.describe(observed, summaries), stacklevel=3)
        return mixture.contexts(self.encoder.networks, summaries)


def from_file(document: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> NeuralPosterior:
    """The posterior whose document and tensors `save` wrote; those of another fit raise somehow."""
    prior, data = prior_from_dict(document["prior"]), layout_from_dict(document["data"])
    architecture = Architecture(**document["architecture"])
    members = expect_integer("members", document.get("members", 1), low=1, high=len(tensors))
    weights = [_part(tensors, part) for part in _parts(members)]
    arrays = {
        part: {name: tensor.numpy() for name, tensor in _part(tensors, part).items()}
        for part in ("standardizer", "familiarity")
    }
    standardizer = standardizer_from(arrays["standardizer"], document.get("activation"))
    familiarity = Familiarity(**arrays["familiarity"])
    have = [{name: tensor.shape for name, tensor in member.items()} for member in weights]
    known = {*_parts(members), "standardizer", "familiarity"}
    if (
        architecture.parameters != len(prior.names)
        or architecture.inputs != standardizer.features
        or have != [shapes_of(architecture)] * members
        or {name.partition(".")[0] for name in tensors} != known
    ):
        raise BadValue("an architecture of the prior's and the weights' sizes", "another", RESTORE)
    encoder = Encoder(
        data,
        architecture.summary,
        standardizer,
        tuple(_with_weights(architecture, member) for member in weights),
    )
    described = members * architecture.width + encoder.statistics
    if (
        familiarity.whitener.shape != (described, len(familiarity.view))
        or len(familiarity.center) != described
        or familiarity.reference.shape[1:] != familiarity.view.shape
    ):
        raise BadValue(f"a reference of {described} features", "another", RESTORE)
    return NeuralPosterior(
        prior=prior,
        data=data,
        simulator=document["simulator"],
        architecture=architecture,
        encoder=encoder,
        familiarity=familiarity,
        history=document["training"],
    )


def _with_weights(architecture: Architecture, weights: Mapping[str, Tensor]) -> Network:
    network = build_network(architecture, seed=0)
    network.load_state_dict(weights)
    return network.eval().requires_grad_(False)


def _part(tensors: Mapping[str, Tensor], part: str) -> dict[str, Tensor]:
    start = f"{part}."
    return {k.removeprefix(start): v for k, v in tensors.items() if k.startswith(start)}


def _parts(members: int) -> list[str]:
    """Where the weights of each member are in the file."""
    return ["network"] if members == 1 else [f"network_{k}" for k in range(members)]
