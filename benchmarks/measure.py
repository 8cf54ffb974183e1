"""What several benchmarks need: where they ran, and how much memory a process took at most."""

import json
import os
import platform
import resource
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


RESULTS = Path(__file__).resolve().parent / "results"


def machine(
    device: str = "cpu", packages: Sequence[str] = ("torch", "safetensors", "llamafactory-dba")
) -> dict[str, Any]:
    """Processor, load and versions, for the header of a result."""
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0],
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
    }


def command() -> str:
    """The command line of this process; of absolute paths only the last part, for the rest says nothing elsewhere."""
    script, *words = sys.argv
    return shlex.join(
        ["python", f"benchmarks/{Path(script).name}", *(Path(w).name if Path(w).is_absolute() else w for w in words)]
    )


def peak_of_this_process() -> int:
    """Bytes, file pages that are mapped included."""
    status = Path("/proc/self/status")
    if status.is_file():  # getrusage would count the parent's memory from before exec
        (line,) = (line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def write(result: dict[str, Any], path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(f"written to {path}")
