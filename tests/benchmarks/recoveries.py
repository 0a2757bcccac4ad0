"""Two posteriors that are known in closed form: python -m tests.benchmarks.recoveries

With θ ~ N(0, I₂), 20,000 simulations and the defaults of `fit`, at three seeds:

- narrow: x = θ + .02 ε. The posterior is fifty times narrower than the prior; printed are the
  learned sd over the exact one and the root mean square error of the posterior mean in exact sds.
- unseen: x repeats the first parameter with noise .1 twice and does not touch the second, whose
  posterior must be its prior; printed are mean and sd of the second, over 300 datasets.
"""

import numpy as np
import torch

import sbi_kit as sk

PRIOR = sk.Prior(a=sk.Normal(0, 1), b=sk.Normal(0, 1))


def narrow(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Both parameters with noise .02, (b, 2) to (b, 2)."""
    return theta + 0.02 * rng.standard_normal(theta.shape)


def unseen(theta: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The first parameter with noise .1, twice, (b, 2) to (b, 2)."""
    return theta[:, :1] + 0.1 * rng.standard_normal((len(theta), 2))


def draws_of(simulate, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Data (300, 2) and posterior draws (300, 4000, 2) of a fresh posterior."""
    data = sk.Vector(columns=("x_1", "x_2"))
    model = sk.Simulator(name=simulate.__name__, prior=PRIOR, data=data, simulate=simulate)
    posterior = sk.fit(sk.simulate(model, 20_000, seed=seed), seed=seed)
    _, x = sk.simulate(model, 300, seed=1_000).take(slice(None))
    return x.values[:, 0], posterior.sample(x, draws=4_000, seed=3)


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    sd = 0.02 / np.sqrt(1 + 0.02**2)
    for seed in (1, 2, 3):
        x, draws = draws_of(narrow, seed)
        ratio = (draws.std(axis=1) / sd).mean(axis=0)
        off = np.sqrt((((draws.mean(axis=1) - x / (1 + 0.02**2)) / sd) ** 2).mean())
        print(
            f"seed {seed}  narrow: sd / exact {ratio.round(3).tolist()}, mean off by {off:.3f} sd"
        )
        _, draws = draws_of(unseen, seed)
        mean, spread = draws[..., 1].mean(), draws[..., 1].std(axis=1).mean()
        print(f"seed {seed}  unseen: mean {mean:+.3f}, sd {spread:.3f} of a parameter N(0, 1)")


if __name__ == "__main__":
    main()
