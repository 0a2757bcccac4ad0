"""How well-posed a joint objective is: the condition number of its Hessian, and Weyl's bounds.

For weights theta that both tasks share, the Hessian of

    alpha L_r(theta) + beta L_c(theta) + lam |theta|_2^2

is H = alpha H_r + beta H_c + 2 lam I, with H_r = 2 X'X / n and H_c = X' diag(p (1 - p)) X / n at
probabilities p. Its condition number, the largest over the smallest eigenvalue, bounds how much
slower gradients descend along one direction than along another. Condition numbers of the parts do
not add. What adds are bounds on eigenvalues (Weyl 1912, Math. Ann. 71:441): for symmetric A and B
of extreme eigenvalues a_min, a_max, b_min, b_max,

    max(a_max + b_min, a_min + b_max) <= largest(A + B) <= a_max + b_max
    a_min + b_min <= smallest(A + B) <= min(a_max + b_min, a_min + b_max).
"""

from dataclasses import dataclass

import numpy as np

from sbi_kit.checks import BadValue, expect_number
from sbi_kit.contracts import Array


@dataclass(frozen=True)
class Conditioning:
    """Condition numbers; infinite where the smallest eigenvalue is 0.

    Attributes:
        joint: That of the whole Hessian.
        lower: The least it could be, by the parts' eigenvalues alone.
        upper: The most.
        regression: That of H_r.
        classification: That of H_c.
        smallest: Smallest eigenvalue of the whole Hessian.
        largest: Its largest.
    """

    joint: float
    lower: float
    upper: float
    regression: float
    classification: float
    smallest: float
    largest: float


def conditioning(
    x: Array, probability: Array, *, alpha: float, beta: float, lam: float
) -> Conditioning:
    """Condition number of alpha H_r + beta H_c + 2 lam I.

    Args:
        x: Features (rows, p).
        probability: Probability of class 1 of each row, shape (rows,).
        alpha: Weight of the mean squared error.
        beta: Weight of the cross-entropy.
        lam: Strength of the squared penalty, lam (1 - rho) of an elastic net.

    Raises:
        BadType, BadValue: A weight is negative, or a probability outside 0..1.
    """
    for name, value in (("alpha", alpha), ("beta", beta), ("lam", lam)):
        expect_number(name, value, low=0)
    if len(probability) != len(x) or not ((probability >= 0) & (probability <= 1)).all():
        got = f"{len(probability)} numbers for {len(x)} rows"
        raise BadValue("a probability between 0 and 1 for each row", got, "pass those of class 1")
    curvature = probability * (1 - probability)
    regression = 2 * x.T @ x / len(x)
    classification = (x * curvature[:, None]).T @ x / len(x)
    a, b = alpha * _extremes(regression), beta * _extremes(classification)
    joint = alpha * regression + beta * classification
    small, large = _extremes(joint) + 2 * lam
    least = a[0] + b[0] + 2 * lam, max(a[1] + b[0], a[0] + b[1]) + 2 * lam
    most = min(a[1] + b[0], a[0] + b[1]) + 2 * lam, a[1] + b[1] + 2 * lam
    return Conditioning(
        joint=_ratio(large, small),
        lower=max(1.0, _ratio(least[1], most[0])),
        upper=_ratio(most[1], least[0]),
        regression=_ratio(*_extremes(regression)[::-1]),
        classification=_ratio(*_extremes(classification)[::-1]),
        smallest=float(small),
        largest=float(large),
    )


def _extremes(matrix: Array) -> Array:
    """Smallest and largest eigenvalue; 0 for what rounding made of 0."""
    values = np.linalg.eigvalsh(matrix)
    zero = len(values) * np.finfo(np.float64).eps * values[-1]
    return np.array([values[0] if values[0] > zero else 0.0, values[-1]])


def _ratio(large: float, small: float) -> float:
    return float(large / small) if small > 0 else np.inf
