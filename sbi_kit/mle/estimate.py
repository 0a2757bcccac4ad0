"""What maximum likelihood found, in one form for every method.

By the curvature of the log-likelihood at its maximum, the observed information I, the estimate is
asymptotically normal with covariance I⁻¹ (Fisher 1925; Efron & Hinkley 1978). Where a prior says
what values are possible, that normal is one of the whitened parameters u: draws of u mapped back
never leave the support, and to first order have the covariance J I⁻¹ Jᵀ with J = dθ/du.
"""

from dataclasses import dataclass

import numpy as np

from sbi_kit.checks import BadValue, expect_integer
from sbi_kit.contracts import Array, Prior
from sbi_kit.differences import default_steps, jacobian_of_rows
from sbi_kit.seeds import numpy_stream


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """Parameters of maximum likelihood with their uncertainty.

    Attributes:
        names: Names of the d parameters.
        values: Their values, shape (d,).
        covariance: Covariance of the estimate, shape (d, d); NaN where it did not converge.
        log_likelihood: Log-likelihood at the values, in nats.
        converged: Whether the values are the maximum, to 1e-4 of their standard errors at least.
        gradients: How derivatives were taken: "autograd", "differences" or "closed form".
        prior: The prior whose support bounds the parameters; its density plays no part.

    >>> one = Estimate(
    ...     names=("rate",),
    ...     values=np.array([2.0]),
    ...     covariance=np.array([[0.25]]),
    ...     log_likelihood=-10.0,
    ...     converged=True,
    ...     gradients="closed form",
    ... )
    >>> print(one)
    log-likelihood -10, converged, derivatives by closed form
    name  value  standard error
    rate      2             0.5
    """

    names: tuple[str, ...]
    values: Array
    covariance: Array
    log_likelihood: float
    converged: bool
    gradients: str
    prior: Prior | None = None

    @property
    def standard_errors(self) -> Array:
        """Standard errors of the values, shape (d,)."""
        errors: Array = np.sqrt(np.diag(self.covariance))
        return errors

    def sample(self, draws: int, *, seed: int) -> Array:
        """Draws of the asymptotic distribution of the estimate, to set beside a posterior's.

        Args:
            draws: How many.
            seed: Seed of the draws.

        Returns:
            Draws (draws, d), all within the prior's support if there is a prior.

        Raises:
            BadValue: draws < 1, or the estimate did not converge and has no covariance.
            BadType: draws is no integer.
        """
        draws = expect_integer("draws", draws, low=1)
        if not np.isfinite(self.covariance).all():
            wanted = "an estimate with a covariance"
            advice = "fit again from another start, or bound the parameters by a prior"
            raise BadValue(wanted, "one that did not converge", advice)
        noise = numpy_stream(seed, "estimate").standard_normal((draws, len(self.names)))
        if self.prior is None:
            moved: Array = self.values + noise @ _root(self.covariance).T
            return moved
        centre = self.prior.whiten(self.values)
        slope = jacobian_of_rows(self.prior.unwhiten, centre, steps=default_steps(centre))
        inverse = np.linalg.inv(slope)
        return self.prior.unwhiten(centre + noise @ _root(inverse @ self.covariance @ inverse.T).T)

    def __str__(self) -> str:
        cells = [("name", "value", "standard error")]
        numbers = zip(self.names, self.values, self.standard_errors, strict=True)
        cells += [(name, f"{value:.6g}", f"{error:.3g}") for name, value, error in numbers]
        first, second, third = (max(map(len, column)) for column in zip(*cells, strict=True))
        state = "converged" if self.converged else "NOT converged"
        head = f"log-likelihood {self.log_likelihood:.10g}, {state}"
        lines = [f"{a:<{first}}  {b:>{second}}  {c:>{third}}" for a, b, c in cells]
        return "\n".join([f"{head}, derivatives by {self.gradients}", *lines])


def _root(covariance: Array) -> Array:
    """A matrix A with A Aᵀ = covariance, which may be singular."""
    values, vectors = np.linalg.eigh(covariance)
    root: Array = vectors * np.sqrt(np.maximum(values, 0.0))
    return root
