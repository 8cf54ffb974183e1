"""How long the board takes for one look at a long training: its log read, thinned out and drawn.

Usage: ``python benchmarks/board_curve.py [--steps 10000]``. ``first`` is a page opened late in a run, when the whole
log is parsed; ``again`` is each later look, after one more step, with the log known. Processor time, which does not
depend on what else the machine does, and wall-clock time, which does: medians and worst of the repeats.
"""

import argparse
import json
import math
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from measure import RESULTS, command, machine, write

from llamafactory_dba.webui.curves import figure
from llamafactory_dba.webui.follow import Follower


FIELDS = ("loss", "gamma", "similarity", "correction", "domain_grad_norm")  # of dba_log.jsonl, with the loss


def record(step: int, steps: int, generator: random.Random) -> str:
    loss = 0.5 + math.exp(-3 * step / steps) + generator.gauss(0, 0.1)
    values = (loss, 0.02 * (1 - step / steps), generator.gauss(0, 0.1), generator.uniform(1, 10), generator.random())
    return json.dumps({"step": step, **dict(zip(FIELDS, values, strict=True))}) + "\n"


def look(follower: Follower) -> int:
    """One look: five curves in one figure; returns the size of what goes to the page, in bytes."""
    series = follower.poll()
    return len(figure(series, title="Training", x_label="step", y_label="").encode())


def seconds(call: Callable[[], object]) -> tuple[float, float]:
    """Processor and wall-clock time."""
    start, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - start, time.perf_counter() - wall


def summary(times: list[tuple[float, float]]) -> dict[str, float]:
    cpu, wall = zip(*times, strict=True)
    return {
        "median_cpu_seconds": statistics.median(cpu),
        "worst_cpu_seconds": max(cpu),
        "median_seconds": statistics.median(wall),
        "worst_seconds": max(wall),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--output", type=Path, default=RESULTS / "board_curve.json")
    args = parser.parse_args()
    generator = random.Random(0)
    with tempfile.TemporaryDirectory() as name:
        log = Path(name) / "dba_log.jsonl"
        lines = [record(step, args.steps, generator) for step in range(args.steps)]
        log.write_text("".join(lines), encoding="utf-8")
        size = log.stat().st_size
        first = [seconds(lambda: look(Follower(log, FIELDS))) for _ in range(args.repeats)]
        follower = Follower(log, FIELDS)
        look(follower)
        again = []
        for number in range(args.repeats):
            with log.open("a", encoding="utf-8") as file:
                file.write(record(args.steps + number, args.steps, generator))
            again.append(seconds(lambda: look(follower)))
        page = look(follower)
    result = {
        "what": "one look of the board at a training log: read, thinned out to 1000 points a curve, drawn as HTML",
        "command": command(),
        "machine": machine(),
        "steps": args.steps,
        "curves": len(FIELDS),
        "repeats": args.repeats,
        "log_bytes": size,
        "html_bytes": page,
        "first": summary(first),
        "again": summary(again),
    }
    for name in ("first", "again"):
        print(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in result[name].items()))
    write(result, args.output)


if __name__ == "__main__":
    main()
