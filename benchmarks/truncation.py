"""Randomised against exact truncation of one matrix: time and relative error. Goal: 10 times faster, error + 1 %.

    python benchmarks/truncation.py                                        # seconds
    python benchmarks/truncation.py --rows 4096 --cols 12288 --rank 512    # the goal's size; minutes
    python benchmarks/truncation.py --anchor DIR --tensor NAME             # with the spectrum of an anchor's tensor

The matrix has random singular vectors. Its singular values are those of the tensor named, stretched to the size of the
matrix, or the default: a broken power law with the slopes of the flattest, so the hardest, of the 29 matrices in the
anchor of benchmarks/real_small (layer 1, down_proj). Writes results/truncation_ROWSxCOLS_rRANK.json.
"""

import argparse
import math
import statistics
import sys
import time
from pathlib import Path

import torch
from measure import RESULTS, machine, write
from torch import Tensor

from llamafactory_dba.anchor.format import open_anchor
from llamafactory_dba.core.lowrank import LowRank, Truncation, truncate


# (up to this share of the singular values, slope in log-log)
SLOPES = ((1 / 8, -0.3), (1 / 2, -0.8), (1.0, -1.8))
GOAL = {"speedup": 10.0, "error_ratio": 1.01}


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    matrix, full = make(args)
    optimum = float((full[args.rank :] ** 2).sum().sqrt() / (full**2).sum().sqrt())
    # the exact way for every size, and the randomised one for every size
    ways = {"exact": sys.maxsize, "randomised": 0}
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    errors = {}
    for number in range(args.repeats):
        for way, below in ways.items():
            start = time.perf_counter()
            result = truncate(matrix, args.rank, seed=args.seed, exact_below=below)
            seconds[way].append(time.perf_counter() - start)
            if result.exact != (way == "exact"):
                sys.exit(f"rank {args.rank} is too high for a {args.rows} x {args.cols} matrix to be randomised")
            errors[way] = error(matrix, result)
            print(
                f"{number + 1}/{args.repeats} {way:<10} {seconds[way][-1]:8.2f} s  error {errors[way]:.6f}", flush=True
            )
    speedup = statistics.median(seconds["exact"]) / statistics.median(seconds["randomised"])
    ratio = errors["randomised"] / errors["exact"]
    result = {
        "benchmark": "randomised against exact truncation",
        "command": "python benchmarks/truncation.py " + " ".join(sys.argv[1:]),
        "machine": machine(),
        "shape": [args.rows, args.cols],
        "rank": args.rank,
        "seed": args.seed,
        "spectrum": f"{args.tensor} of {Path(args.anchor).name}" if args.anchor else {"slopes": SLOPES},
        "repeats": args.repeats,
        "seconds": seconds,
        "relative_error": {**errors, "by_the_singular_values": optimum},
        "speedup": speedup,
        "error_ratio": ratio,
        "goal": GOAL,
        "met": speedup >= GOAL["speedup"] and ratio <= GOAL["error_ratio"],
    }
    print(f"{speedup:.1f} times faster (goal {GOAL['speedup']}), error x {ratio:.4f} (goal {GOAL['error_ratio']})")
    write(result, args.out or RESULTS / f"truncation_{args.rows}x{args.cols}_r{args.rank}.json")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1024)
    parser.add_argument("--cols", type=int, default=3072)
    parser.add_argument("--rank", type=int, default=128)
    parser.add_argument("--anchor", help="folder of an anchor")
    parser.add_argument("--tensor", help="one of its tensors, stored dense: a factored one has lost its tail")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if (args.anchor is None) != (args.tensor is None):
        parser.error("--anchor and --tensor belong together")
    return args


def make(args: argparse.Namespace) -> tuple[Tensor, Tensor]:
    """The matrix, and its singular values."""
    generator = torch.Generator().manual_seed(args.seed)
    small = min(args.rows, args.cols)
    values = stretched(measured(args.anchor, args.tensor), small) if args.anchor else broken_power_law(small)
    left = torch.linalg.qr(torch.randn(args.rows, small, generator=generator)).Q
    right = torch.linalg.qr(torch.randn(args.cols, small, generator=generator)).Q
    return (left * values.float()) @ right.T, values


def broken_power_law(count: int) -> Tensor:
    logs = [0.0]
    for index in range(1, count):
        slope = next(slope for share, slope in SLOPES if index < share * count or share == 1.0)
        logs.append(logs[-1] + slope * (math.log(index + 1) - math.log(index)))
    return torch.tensor(logs, dtype=torch.float64).exp()


def measured(folder: str, name: str) -> Tensor:
    value = open_anchor(folder).tensor(name)
    if isinstance(value, LowRank) or value.dim() < 2:
        sys.exit(f"{name} is not stored as a dense matrix: its whole spectrum is not known")
    return torch.linalg.svdvals(value.double().reshape(-1, value.shape[-1]))


def stretched(values: Tensor, count: int) -> Tensor:
    """As many values as asked for, at the same share of the way; interpolated in the logarithm."""
    logs = values.clamp_min(values[0] * 1e-12).log()
    places = torch.linspace(0, len(values) - 1, count, dtype=torch.float64)
    low = places.floor().long().clamp_max(len(values) - 2)
    return (logs[low] + (places - low) * (logs[low + 1] - logs[low])).exp()


def error(matrix: Tensor, result: Truncation) -> float:
    assert isinstance(result.value, LowRank)
    return float((matrix - result.value.left @ result.value.right).norm() / matrix.norm())


if __name__ == "__main__":
    main()
