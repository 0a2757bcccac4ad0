"""Any simulator in, a calibrated amortized posterior out, as ArviZ data.

The public names, in the order of the data path. Each is imported when it is first asked for, so
that `import sbi_kit` costs next to nothing and torch is loaded by those who train or sample.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sbi_kit.bank import Bank as Bank
    from sbi_kit.certificate import Certificate as Certificate
    from sbi_kit.certificate import certify as certify
    from sbi_kit.comparison import compare_methods as compare_methods
    from sbi_kit.contracts import DataGenerator as DataGenerator
    from sbi_kit.contracts import Estimator as Estimator
    from sbi_kit.contracts import Latent as Latent
    from sbi_kit.contracts import Posterior as Posterior
    from sbi_kit.data import Datasets as Datasets
    from sbi_kit.data import Exchangeable as Exchangeable
    from sbi_kit.data import Matrix as Matrix
    from sbi_kit.data import Series as Series
    from sbi_kit.data import Vector as Vector
    from sbi_kit.diagnostics.calibration import Quantity as Quantity
    from sbi_kit.diagnostics.calibration import Verdict as Verdict
    from sbi_kit.diagnostics.calibration import calibrate as calibrate
    from sbi_kit.diagnostics.predictive import PredictiveCheck as PredictiveCheck
    from sbi_kit.diagnostics.predictive import predictive_check as predictive_check
    from sbi_kit.fitting import fit as fit
    from sbi_kit.loading import load as load
    from sbi_kit.neural import NeuralPosterior as NeuralPosterior
    from sbi_kit.online import fit_online as fit_online
    from sbi_kit.prior import Beta as Beta
    from sbi_kit.prior import Exponential as Exponential
    from sbi_kit.prior import Gamma as Gamma
    from sbi_kit.prior import HalfNormal as HalfNormal
    from sbi_kit.prior import LogNormal as LogNormal
    from sbi_kit.prior import LogUniform as LogUniform
    from sbi_kit.prior import MultivariateNormal as MultivariateNormal
    from sbi_kit.prior import Normal as Normal
    from sbi_kit.prior import Prior as Prior
    from sbi_kit.prior import TruncatedNormal as TruncatedNormal
    from sbi_kit.prior import Uniform as Uniform
    from sbi_kit.registry import load_generator as load_generator
    from sbi_kit.registry import load_simulator as load_simulator
    from sbi_kit.registry import simulator_names as simulator_names
    from sbi_kit.rejection import Accepted as Accepted
    from sbi_kit.rejection import RejectionABC as RejectionABC
    from sbi_kit.rejection import fit_abc as fit_abc
    from sbi_kit.reporting import report as report
    from sbi_kit.simulation import SimulationError as SimulationError
    from sbi_kit.simulation import simulate as simulate
    from sbi_kit.simulator import Simulator as Simulator
    from sbi_kit.testing import check_estimator as check_estimator
    from sbi_kit.testing import check_generator as check_generator
    from sbi_kit.testing import check_latent as check_latent
    from sbi_kit.testing import check_simulator as check_simulator

_ROOMS = {
    "prior": (
        "Prior Uniform LogUniform Normal LogNormal HalfNormal TruncatedNormal Gamma Beta "
        "Exponential MultivariateNormal"
    ),
    "data": "Vector Exchangeable Series Matrix Datasets",
    "simulator": "Simulator",
    "registry": "simulator_names load_simulator load_generator",
    "testing": "check_simulator check_generator check_latent check_estimator",
    "simulation": "simulate SimulationError",
    "bank": "Bank",
    "fitting": "fit",
    "online": "fit_online",
    "neural": "NeuralPosterior",
    "rejection": "fit_abc RejectionABC Accepted",
    "loading": "load",
    "contracts": "Posterior Latent Estimator DataGenerator",
    "diagnostics.calibration": "calibrate Quantity Verdict",
    "diagnostics.predictive": "predictive_check PredictiveCheck",
    "certificate": "certify Certificate",
    "comparison": "compare_methods",
    "reporting": "report",
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names.split()}

__all__ = list(_ROOM_OF)


def __getattr__(name: str) -> Any:
    if name not in _ROOM_OF:
        raise AttributeError(f"module 'sbi_kit' has no attribute {name!r}")
    return getattr(import_module(f"sbi_kit.{_ROOM_OF[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
