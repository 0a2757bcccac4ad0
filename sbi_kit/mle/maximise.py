"""Maximum likelihood for any model whose log-likelihood ℓ(θ) can be computed.

ℓ is maximised over coordinates v without bounds: the whitened parameters of a prior, whose support
then bounds θ while its density plays no part, or θ in units of the starting point. From every start
a trust region (Conn, Gould & Toint 2000, Trust Region Methods; scipy's "trust-exact") comes near a
maximum; from the highest, Newton's steps end the search, with differences on the scale of the
standard errors. What is left to climb is judged by the decrement gᵀI⁻¹g of the gradient g and the
observed information I = −∇²ℓ: the squared distance to the maximum in standard errors, whatever the
units. The covariance is J I⁻¹ Jᵀ with J = dθ/dv.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve
from scipy.optimize import minimize

from sbi_kit.checks import BadValue, expect_array, expect_finite, expect_integer, expect_name
from sbi_kit.contracts import Array, Prior
from sbi_kit.differences import default_steps
from sbi_kit.mle.columns import distinct
from sbi_kit.mle.estimate import Estimate
from sbi_kit.mle.likelihood import (
    Coordinates,
    Function,
    Likelihood,
    expect_torch,
    show_point,
    written_in_torch,
)
from sbi_kit.seeds import numpy_stream

_GRADIENTS = ("autograd", "differences")
_ROUNDING = float(np.finfo(np.float64).eps)
_BEND = 1e-3  # step for curvature far from the maximum, in coordinates
_SHARE = 1e-2  # step near it, in standard errors
_NEAR = 1e-4  # gradient at which Newton's steps take over
_NEWTON = 20
_CONVERGED = 1e-8  # squared standard errors to the maximum
_EXACT = 1e-14
_UNBOUNDED = 10.0  # standard error, in prior standard deviations, that says nothing is learned
_SINGULAR = 1e-8  # least eigenvalue of the information scaled to a unit diagonal


def fit(
    log_likelihood: Function,
    start: ArrayLike,
    *,
    prior: Prior | None = None,
    names: Sequence[str] | None = None,
    starts: int = 1,
    seed: int = 0,
    gradients: str | None = None,
    iterations: int = 200,
) -> Estimate:
    """The parameters that maximise a log-likelihood, with their covariance.

    Args:
        log_likelihood: It takes parameters (s, d) and returns (s,) in nats, row by row: numpy
            arrays, or torch tensors if it is written in torch. -inf or NaN stand for impossible.
        start: Where to start, shape (d,).
        prior: Its support bounds the parameters, and its names are theirs.
        names: Their names where there is no prior; theta_1 to theta_d if not given.
        starts: Searches, of which the highest maximum is kept: from `start`, and from draws of the
            prior or, without one, from `start` with noise of its own size (1 where it is 0).
        seed: Seed of those.
        gradients: "autograd" or "differences"; if not given, autograd where the function makes a
            tensor with gradients of a tensor, and differences otherwise. The estimate says which.
        iterations: Steps of each search at most.

    Returns:
        The estimate. If it is not known to be a maximum, a warning says why, `converged` is False
        and the covariance NaN.

    Raises:
        BadValue: `start` is not finite or outside the support, the log-likelihood is not finite
            there or close to the way to the maximum, or it has another shape.
        BadType: It returns no numbers, or no tensor with gradients where autograd was asked for.
        UnknownName: `gradients` is something else.

    >>> def log_likelihood(theta):  # three events in two units of time
    ...     return 3 * np.log(theta[:, 0]) - 2 * theta[:, 0]
    >>> found = fit(log_likelihood, [1.0], names=("rate",))
    >>> found.values.round(4), found.standard_errors.round(3), found.gradients
    (array([1.5]), array([0.866]), 'differences')
    """
    starts = expect_integer("starts", starts, low=1)
    iterations = expect_integer("iterations", iterations, low=1)
    theta, coordinates = _expect_start(start, prior, names)
    if gradients is None:
        autograd = written_in_torch(log_likelihood, theta)
    else:
        autograd = expect_name("way to take gradients", gradients, _GRADIENTS) == "autograd"
        if autograd:
            expect_torch(log_likelihood, theta)
    likelihood = Likelihood(log_likelihood, coordinates, autograd)
    first = coordinates.inward(theta)
    if not np.isfinite(likelihood.values(first[None])).all():
        got = f"none at {show_point(coordinates.names, theta)}"
        raise BadValue("a finite log_likelihood at the start", got, "start elsewhere")
    found = [_search(likelihood, first, iterations)]
    # Coordinates of draws of a prior are standard normal.
    centre = first if prior is None else np.zeros_like(first)
    noise = numpy_stream(seed, "mle: starts").standard_normal((starts - 1, len(theta)))
    for begin in centre + noise:
        try:
            found.append(_search(likelihood, begin, iterations))
        except BadValue:  # nothing can be followed from there, as from a start that is given
            continue
    return _end(likelihood, max(found, key=lambda v: float(likelihood.values(v[None])[0])))


def _expect_start(
    start: ArrayLike, prior: Prior | None, names: Sequence[str] | None
) -> tuple[Array, Coordinates]:
    if prior is not None and names is not None:
        raise BadValue("names from the prior or as names", "both", "leave out names")
    given = prior.names if prior is not None else None if names is None else distinct(names)
    size: int | str = "d" if given is None else len(given)
    theta = expect_array("start", start, (size,), do="pass one number per parameter")
    listed = given or tuple(f"theta_{i}" for i in range(1, len(theta) + 1))
    expect_finite("start", theta, listed, do="start from finite numbers")
    return theta, Coordinates(listed, prior, np.where(theta == 0, 1.0, np.abs(theta)))


def _search(likelihood: Likelihood, begin: Array, iterations: int) -> Array:
    """Coordinates near a maximum, uphill from those given."""
    value = float(likelihood.values(begin[None])[0])
    if not np.isfinite(value):
        return begin
    rounding = _ROUNDING * abs(value) / default_steps(np.zeros(1))[0]
    options: Any = {"gtol": max(_NEAR, 100 * rounding), "maxiter": iterations}
    found = minimize(  # type: ignore[call-overload]  # its stubs know the name, not the types
        lambda v: -float(likelihood.values(v[None])[0]),
        begin,
        jac=lambda v: -_or_zeros(likelihood.gradient, v, default_steps(v), v.shape),
        hess=lambda v: -_or_zeros(likelihood.hessian, v, _far(v), (len(v), len(v))),
        method="trust-exact",
        options=options,
    )
    return np.asarray(found.x, dtype=np.float64)


def _far(v: Array) -> Array:
    """Steps for the curvature far from a maximum."""
    steps: Array = _BEND * np.maximum(1.0, np.abs(v))
    return steps


def _or_zeros(
    method: Callable[[Array, Array], Array], v: Array, steps: Array, shape: tuple[int, ...]
) -> Array:
    """Derivatives, or zeros where there are none, which ends a search.

    They are also asked for at impossible points, which the search then does not go to.
    """
    try:
        return method(v, steps)
    except BadValue:
        return np.zeros(shape)


def _end(likelihood: Likelihood, near: Array) -> Estimate:
    """The estimate at the maximum close by; warns if there is none."""
    coordinates = likelihood.coordinates
    v, information, decrement = _newton(likelihood, near)
    value = float(likelihood.values(v[None])[0])
    trouble = _trouble(coordinates, information, decrement, value)
    if trouble:
        warnings.warn(f"Maximum likelihood did not converge: {trouble}.", UserWarning, stacklevel=3)
        covariance = np.full_like(information, np.nan)
    else:
        slope = coordinates.slopes(v[None])[0]
        covariance = slope @ np.linalg.inv(information) @ slope.T
    return Estimate(
        names=coordinates.names,
        values=coordinates.outward(v),
        covariance=covariance,
        log_likelihood=value,
        converged=not trouble,
        gradients=_GRADIENTS[0 if likelihood.autograd else 1],
        prior=coordinates.prior,
    )


def _newton(likelihood: Likelihood, v: Array) -> tuple[Array, Array, float]:
    """The maximum near v, the information there, and the decrement, infinite if it is none."""
    information, far = -likelihood.hessian(v, _far(v)), _far(v)
    decrement = np.inf
    for _ in range(_NEWTON):
        curvature = np.diag(information)
        if not (curvature > 0).all():
            return v, information, np.inf
        steps = np.minimum(_SHARE / np.sqrt(curvature), 100 * far)
        information = -likelihood.hessian(v, steps)
        try:
            factor = cho_factor(information)
        except LinAlgError:
            return v, information, np.inf
        gradient = likelihood.gradient(v, steps / 10)
        move = cho_solve(factor, gradient)
        decrement = float(gradient @ move)
        if decrement <= _EXACT:
            break
        higher = _higher(likelihood, v, move)
        if higher is None:
            break
        v = higher
    return v, information, decrement


def _higher(likelihood: Likelihood, v: Array, move: Array) -> Array | None:
    """The farthest of the halved moves from v that is not lower; None if all are."""
    tried = v + move / 2.0 ** np.arange(10)[:, None]
    values = likelihood.values(np.vstack([v, tried]))
    level = values[0] - 8 * _ROUNDING * abs(values[0])
    higher: Array = tried[values[1:] >= level]
    return higher[0] if len(higher) else None


def _trouble(
    coordinates: Coordinates, information: Array, decrement: float, value: float
) -> str | None:
    """Why this is not known to be a maximum, and what to do; None if it is one."""
    scale = np.sqrt(np.abs(np.diag(information)))
    scale[scale == 0] = 1.0
    # The rounding of second differences, of which noise can make a curvature.
    noise = 10 * _ROUNDING * abs(value) / _SHARE**2
    eigenvalues, vectors = np.linalg.eigh(information / np.outer(scale, scale))
    if eigenvalues[0] <= max(_SINGULAR, noise):
        weights = np.abs(vectors[:, 0])
        return _flat(coordinates.names, weights > 0.1 * weights.max())
    if coordinates.prior is not None:
        errors = np.sqrt(np.diag(np.linalg.inv(information)))
        if errors.max() > _UNBOUNDED:
            return _flat(coordinates.names, errors > _UNBOUNDED)
    if decrement > _CONVERGED:
        distance = f"the search stopped {np.sqrt(decrement):.1g} standard errors from the maximum"
        return f"{distance}; raise iterations or start elsewhere"
    return None


def _flat(names: tuple[str, ...], along: NDArray[np.bool_]) -> str:
    listed = " and ".join(repr(name) for name, flat in zip(names, along, strict=True) if flat)
    return (
        f"the likelihood has no peak along {listed}: it is flat or rises to a bound; "
        "fix what the data do not determine, or start elsewhere"
    )
