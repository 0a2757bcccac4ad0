"""The main job against the published posterior: python -m tests.benchmarks.influenza

For three seeds, `sbi-kit fit influenza` runs from nothing to the table in a process of its own,
with its defaults. Printed beside each other: wall-clock and CPU seconds; posterior means and sds in
units of the published posterior (Grinsztajn et al. 2021's model, recomputed by MCMC) and of the
exact one (quadrature, `influenza_reference.py`); the p-values of 500 fresh datasets' ranks and
coverage.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import sbi_kit as sk

PUBLISHED = {"beta": (1.736, 0.054), "gamma": (0.540, 0.046), "phi_inv": (0.139, 0.077)}
EXACT = {"beta": (1.7349, 0.0529), "gamma": (0.5420, 0.0454), "phi_inv": (0.1375, 0.0748)}


def train(folder: Path, seed: int) -> tuple[float, float]:
    """Wall-clock and CPU seconds of the command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    command = [Path(sys.executable).with_name("sbi-kit"), "fit", "influenza"]
    subprocess.run([*command, "--out", folder, "--seed", str(seed)], check=True)
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return wall, cpu


def main() -> None:
    """Print the table."""
    model = sk.load_simulator("influenza")
    print(f"{os.cpu_count()} cores")
    lines = []
    for seed in (1, 2, 3):
        with tempfile.TemporaryDirectory() as place:
            folder = Path(place) / "influenza"
            wall, cpu = train(folder, seed)
            posterior = sk.load(folder)
        draws = posterior.sample(model.observed, draws=20_000, seed=9)[0]
        fresh = sk.simulate(model, 500, seed=1_000 + seed)
        verdict = sk.calibrate(posterior, fresh, draws=500, seed=5)
        cells = [f"seed {seed}", f"{wall:5.0f} s wall {cpu:5.0f} s CPU"]
        for name, values in zip(posterior.prior.names, draws.T, strict=True):
            for label, reference in (("published", PUBLISHED), ("exact", EXACT)):
                mean, sd = reference[name]
                shift, ratio = (values.mean() - mean) / sd, values.std() / sd
                cells.append(f"{name:>7} vs {label:<9}: mean {shift:+.2f} sd, sd x {ratio:.2f}")
        p_values = np.round(verdict.p_values, 3).tolist()
        cells.append(f"calibration p-values {p_values}, inside all bands: {verdict.passed}")
        cells.append(f"log score {verdict.log_score:.3f} ± {verdict.log_score_error:.3f}")
        lines.append("\n  ".join(cells))
    print("\n".join(lines))


if __name__ == "__main__":
    main()
