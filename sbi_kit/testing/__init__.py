"""Conformance checks for plug-ins: whatever passes here works in the rest of the package.

`check_simulator` holds a forward model to the contract of `sbi_kit.contracts.Simulator`, clause by
clause, and raises one sentence at the first that is broken; `check_generator` does so with a source
of labelled data, `check_latent` with a latent model, `check_estimator` with a supervised method.
Clauses about distributions are tests with a false alarm below one in a million; all draws come from
`seed`, so an outcome repeats.
"""

from sbi_kit.testing.estimators import check_estimator as check_estimator
from sbi_kit.testing.generators import check_generator as check_generator
from sbi_kit.testing.latents import check_latent as check_latent
from sbi_kit.testing.simulators import check_simulator as check_simulator
