"""How well parities are learned: python -m tests.benchmarks.kryptonite [--sizes 9 12 15] [...]

At each n, 2,000 n rows; 30 % of them are scored, the rest learned from, a tenth of it to tell when
to stop (or, with --published, 3/7 of it, for 40, 30 and 30 % in all). Accuracy is the mean over the
seeds of data, split and weights alike, with its range; the best possible is that of these very
rows, and the gap how far wide & deep stays below it. Boosted trees and logistic regression are
scikit-learn's. Seconds are of wide & deep's fit, on the clock and on the processor, per seed.
`--figure FILE` draws the table.
"""

import argparse
import time
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from sbi_kit import plots
from sbi_kit.supervised import FullyConnected, ParitySolver, WideDeep
from simulators.kryptonite import Kryptonite

TEST = 0.3


def measure(n: int, seed: int, share: float) -> tuple[dict[str, float], float, float]:
    """Accuracy of each method on one data set, and the seconds of wide & deep."""
    source = Kryptonite(n=n)
    frame = source.generate(source.default_rows, np.random.default_rng(seed))
    test, learn = np.split(
        np.random.default_rng(seed).permutation(len(frame)), [round(TEST * len(frame))]
    )
    x, y = frame[list(source.features)], frame["label"].to_numpy()
    models: dict[str, Any] = {
        "wide & deep": WideDeep(validation_share=share, seed=seed),
        "fully connected": FullyConnected(validation_share=share, seed=seed),
        "parity solver": ParitySolver(seed=seed),
        "boosted trees": HistGradientBoostingClassifier(random_state=seed),
        "logistic": LogisticRegression(),
    }
    found = {"best possible": float(np.mean(source.best_guess(frame.iloc[test]) == y[test]))}
    clock = used = 0.0
    for name, model in models.items():
        began, cpu = time.perf_counter(), time.process_time()
        model.fit(x.iloc[learn], y[learn])
        if name == "wide & deep":
            clock, used = time.perf_counter() - began, time.process_time() - cpu
        found[name] = float(model.score(x.iloc[test], y[test]))
    return found, clock, used


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[9, 12, 15])
    parser.add_argument("--seeds", type=int, nargs="+", default=[40, 42, 44])
    parser.add_argument("--published", action="store_true", help="split 40, 30 and 30 %%")
    parser.add_argument("--figure", type=Path)
    arguments = parser.parse_args()
    share = 3 / 7 if arguments.published else WideDeep().validation_share
    tables = []
    for n in arguments.sizes:
        runs = [measure(n, seed, share) for seed in arguments.seeds]
        table = {name: np.array([found[name] for found, _, _ in runs]) for name in runs[0][0]}
        tables.append(table)
        if len(tables) == 1:
            print(" n  " + "  ".join(f"{name:>22}" for name in table) + "     gap  seconds  CPU s")
        cells = [
            f"{values.mean():.4f} ({values.min():.3f}-{values.max():.3f})"
            for values in table.values()
        ]
        gap = float(np.mean(table["best possible"] - table["wide & deep"]))
        clock, used = (float(np.mean([run[k] for run in runs])) for k in (1, 2))
        line = "  ".join(f"{cell:>22}" for cell in cells)
        print(f"{n:>2}  {line}  {gap:+.4f}  {clock:7.1f}  {used:5.1f}", flush=True)
    if arguments.figure is not None:
        names = [name for name in tables[0] if name != "best possible"]
        figure = plots.accuracy_by_size(
            np.array(arguments.sizes, dtype=float),
            np.array([Kryptonite(n=n).best_guess_accuracy for n in arguments.sizes]),
            {name: np.stack([table[name] for table in tables]) for name in names},
        )
        figure.set_facecolor("white")
        arguments.figure.write_bytes(plots.to_png(figure))


if __name__ == "__main__":
    main()
