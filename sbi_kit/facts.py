"""What `sbi-kit list --verbose` says of a simulator or a generator of labelled data."""

import json
from typing import Any

from sbi_kit import contracts
from sbi_kit.checks import BadInput, show_names
from sbi_kit.context import names_of
from sbi_kit.data import Exchangeable, Matrix, Vector, missable
from sbi_kit.digits import with_unit
from sbi_kit.registry import PluginError, is_generator, load_any
from sbi_kit.simulator import describe


def facts_of(name: str) -> dict[str, str]:
    """What a simulator or generator is; if it cannot be used, why."""
    try:
        model: Any = load_any(name)
        facts = _labelled_facts(model) if is_generator(model) else _simulated_facts(model)
        kept = describe(model)["settings"] or {}
    except (BadInput, PluginError) as error:
        return {"unusable": str(error)}
    except Exception as error:  # whatever a plugin's own properties raise
        return {"unusable": f"{type(error).__name__}: {error}"}
    settings = ", ".join(f"{key}={json.dumps(value)}" for key, value in kept.items())
    return {**facts, "settings": settings}


def _simulated_facts(model: contracts.Simulator) -> dict[str, str]:
    data, units = model.data, getattr(model, "units", {})
    known = show_names([with_unit(name, units) for name in names_of(data)])
    missing = show_names([data.columns[place] for place in missable(data)])
    return {
        "parameters": ", ".join(with_unit(name, units) for name in model.prior.names),
        "data": f"{form_of(data)}: {show_names([with_unit(name, units) for name in data.columns])}",
        **({"context": known} if known else {}),
        **({"may be missing": missing} if missing else {}),
        "observed": _origin(model),
    }


def form_of(data: contracts.Layout) -> str:
    """What one dataset looks like, in words.

    >>> form_of(Matrix(columns=("a", "b"), n=(3, 9)))
    'matrix of 3 to 9 rows and 2 columns'
    """
    low, high = data.n_range
    n = f"{low}" if low == high else f"{low} to {high}"
    if isinstance(data, Vector):
        return "vector"
    if isinstance(data, Matrix):
        return f"matrix of {n} rows and {len(data.columns)} columns"
    return f"{'set' if isinstance(data, Exchangeable) else 'series'} of {n} observations"


def _origin(model: contracts.Simulator) -> str:
    if getattr(model, "observed", None) is None:
        return "none packaged"
    return "packaged, simulated" if hasattr(model, "observed_theta") else "packaged"


def _labelled_facts(model: contracts.DataGenerator) -> dict[str, str]:
    return {
        "data": "labelled, no parameters to infer",
        "features": f"{len(model.features)}: {show_names(model.features)}",
        "targets": ", ".join(model.targets),
    }
