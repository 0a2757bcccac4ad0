"""`import sbi_kit` loads nothing heavy and changes nothing."""

import json
import subprocess
import sys

PROBE = """
import gc, json, locale, logging, os, random, signal, sys, threading, warnings
import numpy as np

def state():
    torch = sys.modules["torch"]
    return {
        "numpy": str(np.random.get_state()[1][:5]),
        "python": str(random.getstate())[:200],
        "torch": torch.initial_seed(),
        "dtype": str(torch.get_default_dtype()),
        "grad": torch.is_grad_enabled(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "threads": torch.get_num_threads(),
        "handlers": len(logging.getLogger().handlers),
        "level": logging.getLogger().level,
        "filters": [str(f) for f in warnings.filters],
        "errors": str(np.geterr()),
        "signals": str(signal.getsignal(signal.SIGINT)) + str(signal.getsignal(signal.SIGTERM)),
        "locale": str(locale.getlocale()),
        "environment": dict(os.environ),
        "folder": sorted(os.listdir(".")),
        "threads_running": threading.active_count(),
    }
"""

LIGHT = """
import json, sys
import sbi_kit
heavy = ("torch", "numpy", "scipy", "arviz", "pandas", "nflows", "xarray", "loky", "rich", "click")
print(json.dumps([name for name in heavy if name in sys.modules]))
"""

EVERYTHING = (
    PROBE
    + """
import torch, nflows.flows.base, scipy.special, scipy.stats, scipy.optimize
before = state()
import sbi_kit
for name in sbi_kit.__all__:
    getattr(sbi_kit, name)
after = state()
print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))
"""
)


def run(code, folder):
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_import_loads_nothing_heavy(tmp_path):
    assert run(LIGHT, tmp_path) == []


def test_import_of_every_public_name_changes_no_global_state(tmp_path):
    assert run(EVERYTHING, tmp_path) == {}
