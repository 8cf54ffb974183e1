"""What the entry point adds to every `import torch` on the machine. Goal: at most 2 ms.

Each sample is a fresh interpreter that loads the entry point and calls it, as torch does, with the modules that torch
has imported by then already there. Writes benchmarks/results/import_cost.json.

    python benchmarks/import_cost.py
"""

import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path


SAMPLES = 31
RESULT = Path(__file__).parent / "results" / "import_cost.json"

# torch itself has imported these when it calls its entry points
PROBE = """
import collections.abc, functools, importlib.metadata, os, sys, time, types, typing
point = next(iter(importlib.metadata.entry_points(group="torch.backends", name="llamafactory_dba")))
start = time.perf_counter()
point.load()()
print((time.perf_counter() - start) * 1000)
"""


def measure() -> float:
    """Milliseconds of one fresh interpreter; it may keep compiled modules, as an installation does."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    result = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True, env=environment)
    return float(result.stdout)


def main() -> None:
    """Measure, print, write."""
    measure()  # the first one may have to compile the modules
    samples = sorted(measure() for _ in range(SAMPLES))
    result = {
        "command": "python benchmarks/import_cost.py",
        "what": "load and call of the torch.backends entry point, milliseconds",
        "median_ms": round(statistics.median(samples), 3),
        "quartiles_ms": [round(samples[SAMPLES // 4], 3), round(samples[3 * SAMPLES // 4], 3)],
        "max_ms": round(samples[-1], 3),
        "goal_ms": 2.0,
        "n": SAMPLES,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
