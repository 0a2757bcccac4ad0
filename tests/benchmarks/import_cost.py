"""What `import sbi_kit` costs: python -m tests.benchmarks.import_cost

The median of nine fresh interpreters each: an empty one, `import sbi_kit`, torch alone, torch with
every public name of sbi_kit, and `sbi-kit --help`.
"""

import statistics
import subprocess
import sys
import time

EVERYTHING = "import torch, sbi_kit; [getattr(sbi_kit, name) for name in sbi_kit.__all__]"
CASES = {
    "an empty interpreter": "",
    "import sbi_kit": "import sbi_kit",
    "import torch": "import torch",
    "torch and every public name": EVERYTHING,
    "sbi-kit --help": "from sbi_kit.cli import main; main(['--help'])",
}


def seconds(code: str) -> float:
    """Wall-clock seconds of one interpreter."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", code], check=False, stdout=subprocess.DEVNULL)
    return time.monotonic() - start


def main() -> None:
    """Print the table."""
    times = {
        name: statistics.median(seconds(code) for _ in range(9)) for name, code in CASES.items()
    }
    empty, torch = times["an empty interpreter"], times["import torch"]
    for name, value in times.items():
        print(f"{name:<28} {value:6.3f} s   beyond an empty interpreter {value - empty:6.3f} s")
    extra = times["torch and every public name"] - torch
    print(f"every public name beyond torch: {extra:.3f} s")


if __name__ == "__main__":
    main()
