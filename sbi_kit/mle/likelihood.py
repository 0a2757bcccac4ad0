"""A log-likelihood over coordinates without bounds, with its derivatives.

Coordinates are the whitened parameters of a prior, or parameters in units of a starting point, so
that steps of differences and of a search have a scale. Gradients are torch's, taken by the chain
rule through the map of coordinates, where the log-likelihood is written in torch; otherwise they
are central differences. A Hessian is of differences of the former, or of second differences.
"""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

from sbi_kit.checks import BadType, BadValue, expect_array
from sbi_kit.contracts import Array, Prior
from sbi_kit.differences import Rows, default_steps, hessian_of_rows, jacobian_of_rows

Function: TypeAlias = Callable[[Any], Any]


@dataclass(frozen=True)
class Coordinates:
    """The map between parameters theta and coordinates v.

    Attributes:
        names: Names of the d parameters.
        prior: Its whitened parameters are the coordinates.
        unit: Without a prior, the size of each parameter that is a coordinate of 1, shape (d,).
    """

    names: tuple[str, ...]
    prior: Prior | None
    unit: Array

    def inward(self, theta: Array) -> Array:
        """Coordinates of theta (..., d)."""
        return theta / self.unit if self.prior is None else self.prior.whiten(theta)

    def outward(self, v: Array) -> Array:
        """Theta of coordinates (..., d)."""
        return v * self.unit if self.prior is None else self.prior.unwhiten(v)

    def slopes(self, v: Array) -> Array:
        """Jacobians dtheta/dv at v (k, d), shape (k, d, d)."""
        if self.prior is None:
            return np.broadcast_to(np.diag(self.unit), (*v.shape, len(self.unit)))
        unwhiten = self.prior.unwhiten
        return np.stack([jacobian_of_rows(unwhiten, row, steps=default_steps(row)) for row in v])


@dataclass(frozen=True)
class Likelihood:
    """A log-likelihood of coordinates.

    Attributes:
        function: theta (s, d) to (s,), of arrays or, where `autograd`, of tensors.
        coordinates: Those that it is a function of here.
        autograd: Whether torch differentiates it.
    """

    function: Function
    coordinates: Coordinates
    autograd: bool

    def values(self, v: Array) -> Array:
        """Log-likelihoods at v (k, d), shape (k,); -inf where they are not finite.

        Raises:
            BadValue: The function returns another shape.
            BadType: It returns no numbers.
        """
        theta = self.coordinates.outward(v)
        with np.errstate(all="ignore"), torch.no_grad():  # impossible parameters are tried too
            found = self.function(torch.from_numpy(theta) if self.autograd else theta)
        if isinstance(found, Tensor):
            found = found.detach().numpy()
        advice = "return one number for each row of theta"
        numbers: Array = expect_array("log_likelihood", found, (len(v),), do=advice).copy()
        numbers[~np.isfinite(numbers)] = -np.inf
        return numbers

    def gradient(self, v: Array, steps: Array) -> Array:
        """Its derivatives at v (d,), shape (d,); steps (d,) are those of differences."""
        if self.autograd:
            gradient: Array = self._gradients(v[None])[0]
            return gradient
        return _shortened(jacobian_of_rows, self._neighbours, v, steps)

    def hessian(self, v: Array, steps: Array) -> Array:
        """Its second derivatives at v (d,), shape (d, d)."""
        if not self.autograd:
            return _shortened(hessian_of_rows, self._neighbours, v, steps)
        hessian = _shortened(jacobian_of_rows, self._gradients, v, steps)
        return (hessian + hessian.T) / 2

    def _neighbours(self, v: Array) -> Array:
        """Values that derivatives are taken from, all of which must be finite."""
        return self._expect_finite(self.values(v), v)

    def _gradients(self, v: Array) -> Array:
        """Gradients by autograd at v (k, d), shape (k, d)."""
        theta = torch.from_numpy(self.coordinates.outward(v)).requires_grad_()
        (slopes,) = torch.autograd.grad(self.function(theta).sum(), theta)
        gradients: Array = np.einsum("ki,kij->kj", slopes.numpy(), self.coordinates.slopes(v))
        return self._expect_finite(gradients, v)

    def _expect_finite(self, values: Array, v: Array) -> Array:
        """Return values (k, ...) at v (k, d) if they are finite."""
        bad = ~np.isfinite(values.reshape(len(v), -1)).all(axis=1)
        if bad.any():
            theta = self.coordinates.outward(v[np.argmax(bad)])
            raise BadValue(
                "a log_likelihood that is finite around every point it is followed through",
                f"none at {show_point(self.coordinates.names, theta)}",
                "keep parameters possible by a prior, or start elsewhere",
            )
        return values


def _shortened(method: Callable[..., Array], function: Rows, v: Array, steps: Array) -> Array:
    """Differences by a method, with shorter steps where others meet the impossible."""
    for share in (1.0, 0.1, 0.01):
        with suppress(BadValue):
            return method(function, v, steps=share * steps)
    return method(function, v, steps=0.001 * steps)


def expect_torch(function: Function, theta: Array) -> None:
    """Refuse a function that makes no tensor with gradients of one parameter vector (d,).

    Raises:
        BadType: It does not; what it raised, if anything, is in the message and the cause.
    """
    wanted = "a log_likelihood written in torch, for gradients by autograd"
    advice = "use torch's functions throughout, or gradients='differences'"
    try:
        values = function(torch.tensor(theta[None], requires_grad=True))
    except Exception as error:  # numpy refuses such tensors in as many ways as it has functions
        raise BadType(wanted, f"{type(error).__name__}: {error}", advice) from error
    if not isinstance(values, Tensor) or not values.requires_grad:
        raise BadType(wanted, f"a {type(values).__name__} without gradients", advice)


def written_in_torch(function: Function, theta: Array) -> bool:
    """Whether it makes a tensor with gradients of one parameter vector (d,)."""
    try:
        expect_torch(function, theta)
    # A fault that has nothing to do with tensors comes up again when it is called with arrays.
    except BadType:
        return False
    return True


def show_point(names: tuple[str, ...], theta: Array) -> str:
    """Parameters by name: a = 1, b = 2."""
    return ", ".join(f"{name} = {x:g}" for name, x in zip(names, theta, strict=True))
