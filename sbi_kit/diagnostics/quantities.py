"""Test quantities: functions of the parameters that are judged as the parameters are.

If theta* and the draws are exchangeable given x, so are the values of any function f(theta, x), and
the rank of f(theta*, x) among those of the draws is uniform. A function that depends on the data
finds what no parameter shows: the prior itself, taken for the posterior, passes every rank test of
the parameters, but not that of the log-likelihood (Modrák et al. 2023, arXiv:2211.02383).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from sbi_kit.checks import BadType, BadValue, expect_array, show_names
from sbi_kit.contracts import Array
from sbi_kit.data import Datasets


@dataclass(frozen=True)
class Quantity:
    """A test quantity that depends on the data too, such as the log-likelihood.

    Attributes:
        function: Of theta (b, s, d), s parameter vectors for each of the b datasets of x, and x;
            returns values (b, s), each of its own dataset alone.
    """

    function: Callable[[Array, Datasets], Array]


Quantities: TypeAlias = Mapping[str, Callable[[Array], Array] | Quantity]


def expect_quantities(quantities: Quantities | None, names: tuple[str, ...]) -> Quantities:
    """Return the quantities if each is a function under a name of its own.

    Raises:
        BadType: They are no mapping of functions.
        BadValue: A name is that of a parameter.
    """
    if quantities is None:
        return {}
    wanted, do = "quantities as a mapping from names to functions", "write {'R0': function}"
    if not isinstance(quantities, Mapping):
        raise BadType(wanted, type(quantities).__name__, do)
    for name, quantity in quantities.items():
        if not isinstance(name, str) or not (isinstance(quantity, Quantity) or callable(quantity)):
            raise BadType(wanted, f"{name!r}: {quantity!r}", do)
        if name in names:
            taken = f"quantities named other than {show_names(names)}"
            raise BadValue(taken, repr(name), "rename the quantity")
    return quantities


def with_quantities(
    theta: Array, drawn: Array, x: Datasets, quantities: Quantities
) -> tuple[Array, Array]:
    """Append test quantities to true parameters (b, d) and draws (b, draws, d).

    Returns:
        Shapes (b, d + q) and (b, draws, d + q).

    Raises:
        BadValue: A function returns another shape, or NaN; infinite values are ranked.
        BadType: It returns no numbers.
    """
    if not quantities:
        return theta, drawn
    both = np.concatenate([theta[:, None], drawn], axis=1)  # (b, 1 + draws, d)
    values = np.stack([_values(*item, both, x) for item in quantities.items()], axis=-1)
    return (
        np.concatenate([theta, values[:, 0]], axis=1),
        np.concatenate([drawn, values[:, 1:]], axis=2),
    )


def _values(
    name: str, quantity: Callable[[Array], Array] | Quantity, theta: Array, x: Datasets
) -> Array:
    """Values (b, s) of a quantity at theta (b, s, d)."""
    b, s, d = theta.shape
    what, do = f"values of quantity {name!r}", "return one number per row of theta"
    if isinstance(quantity, Quantity):
        values = expect_array(what, quantity.function(theta, x), (b, s), do=do)
    else:
        flat = expect_array(what, quantity(theta.reshape(-1, d)), (b * s,), do=do)
        values = flat.reshape(b, s)
    bad = np.argwhere(np.isnan(values))
    if len(bad):
        point = theta[tuple(bad[0])].tolist()
        raise BadValue(f"{what} without NaN", f"NaN at theta = {point}", "correct the function")
    return values
