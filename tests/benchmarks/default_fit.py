"""A posterior by the default settings, with the CPU seconds that it took."""

import time

import torch

import sbi_kit as sk
from sbi_kit.contracts import Simulator


def default_fit(name: str, rows: int) -> tuple[Simulator, sk.NeuralPosterior]:
    """The simulator of a name and its posterior, on one thread; prints the CPU seconds."""
    torch.set_num_threads(1)
    model = sk.load_simulator(name)
    start = time.process_time()
    bank = sk.simulate(model, rows, seed=1)
    simulated = time.process_time() - start
    posterior = sk.fit(bank, seed=2)
    total = time.process_time() - start
    print(f"{rows} simulations in {simulated:.0f} CPU s, all in {total:.0f} CPU s")
    return model, posterior
