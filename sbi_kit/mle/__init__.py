"""Maximum likelihood: four models in closed form or by Newton's method, and any other by `fit`.

Constructors store settings, `fit` validates and returns the model, what it learned ends in `_`.
Each has an `estimate_`, and `fit` returns one: values, standard errors and covariance by name, and
`sample`, draws of its asymptotic distribution to set beside those of a posterior.
"""

from sbi_kit.mle.bernoulli import Bernoulli as Bernoulli
from sbi_kit.mle.estimate import Estimate as Estimate
from sbi_kit.mle.gaussian import Gaussian as Gaussian
from sbi_kit.mle.linear import Linear as Linear
from sbi_kit.mle.logistic import Logistic as Logistic
from sbi_kit.mle.maximise import fit as fit
