"""What DBA costs per training step, and what an anchor run costs per sample: paired runs in one process.

    python benchmarks/overhead.py                    # CPU, some minutes; writes results/overhead_cpu.json
    python benchmarks/overhead.py --anchor           # the anchor run; writes results/overhead_anchor_cpu.json
    python benchmarks/overhead.py --elastic          # elastic restoration; writes results/overhead_elastic_cpu.json
    python benchmarks/overhead.py --elastic --kronecker               # writes results/overhead_kronecker_cpu.json
    python benchmarks/overhead.py --elastic --kronecker --params 4m --tokens 700 --autocast    # as docs/real_small.md
    python benchmarks/overhead.py --device cuda --dtype bfloat16 --params 1b --tokens 8192 --rank 512

One randomly initialised Qwen3-shaped model takes forward, backward and AdamW steps on random tokens. Two kinds of step
alternate (AB BA AB ...), so that a busy machine slows both; the result is the median of the ratios of each pair and
their quartiles. Of elastic, whose work falls on every fourth step (`--every`), as many steps are taken at a time.
Memory comes from fresh processes, one per kind (`--peak` is how this script calls itself).
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, command, machine, peak_of_this_process, write
from transformers import Qwen3Config, Qwen3ForCausalLM

from llamafactory_dba.anchor.curvature import TensorCurvature
from llamafactory_dba.arguments import DBAArguments
from llamafactory_dba.core.fused import CPU_TILE, CUDA_TILE, blend_
from llamafactory_dba.core.kronecker import Term
from llamafactory_dba.core.lowrank import AnchorTensor, LowRank, worthwhile
from llamafactory_dba.core.mean import RunningMean
from llamafactory_dba.core.moments import Spectrum
from llamafactory_dba.methods.elastic import ElasticHook
from llamafactory_dba.methods.held import Held, bytes_in_memory, even_curvature, make_targets
from llamafactory_dba.training.hooks import Settings, StepHook, Target, attach


# hidden, feed-forward, layers, heads, key/value heads, vocabulary
SHAPES = {
    "tiny": (64, 192, 2, 2, 2, 256),
    "4m": (256, 704, 4, 4, 2, 6000),  # the base model of docs/real_small.md
    "13m": (384, 1152, 6, 6, 6, 4096),
    "29m": (512, 1536, 8, 8, 8, 4096),
    "1b": (2048, 6144, 20, 16, 8, 32768),
}
GOAL = {"cpu": 1.05, "cuda": 1.04}


def main() -> None:
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    bench = Bench(args)
    if args.peak:
        print(json.dumps(bench.peak(args.peak)))
        return
    first, second = ("direct", "anchor") if args.anchor else ("plain", "elastic" if args.elastic else "dba")
    seconds: dict[str, list[tuple[float, float]]] = {first: [], second: []}
    tails: dict[str, list[float]] = {first: [], second: []}
    for kind in (first, second) * args.warmup:
        bench.timed(kind)
    for number in range(args.pairs):
        for kind in (first, second) if number % 2 == 0 else (second, first):
            seconds[kind].append(bench.timed(kind))
            tails[kind].append(bench.tail_seconds)
        show(args, first, second, seconds)
    result = {
        "benchmark": "anchor run against direct fine-tuning"
        if args.anchor
        else f"{elastic_name(args) if args.elastic else 'DBA'} step against plain step",
        "command": command(),
        "machine": machine(args.device, ("torch", "transformers", "llamafactory-dba")),
        "shape": bench.describe(),
        "pairs": args.pairs,
        "seed": args.seed,
        "seconds": {kind: spread([wall for wall, _ in values]) for kind, values in seconds.items()},
        "ratio": spread(ratios(seconds[first], seconds[second], 0)),
        # time of the processor alone: what the clock would show if nothing else ran on this machine
        "processor_seconds": {kind: spread([cpu for _, cpu in values]) for kind, values in seconds.items()},
        "processor_ratio": spread(ratios(seconds[first], seconds[second], 1)),
        # what follows the backward pass, the only part that differs: AdamW, with the hooks around it, or the mean
        "after_backward_processor_seconds": {kind: spread(values) for kind, values in tails.items()},
        "goal": {"ratio": 1.0 if args.anchor else GOAL[args.device]},
        "memory_bytes": {kind: peak_in_a_process(args, kind) for kind in (first, second)},
    }
    if args.anchor:
        result["samples_per_step"] = 1
    elif args.elastic:
        result["steps_at_a_time"] = args.every
        result["memory_bytes"]["held"] = bytes_in_memory(bench.held)
    else:
        result["arithmetic_limit"] = args.rank / (3 * args.tokens)
        result["memory_bytes"]["largest_tensor"] = max(p.numel() for p in bench.parameters) * bench.dtype.itemsize
        result["memory_bytes"]["factors"] = bench.factor_bytes()
        result["memory_bytes"]["blend"] = bench.blend_bytes()
        result["memory_bytes"]["tile_bound"] = (
            CUDA_TILE if args.device == "cuda" else CPU_TILE
        ) * bench.dtype.itemsize
    kind = "anchor_" if args.anchor else "kronecker_" if args.kronecker else "elastic_" if args.elastic else ""
    write(result, args.out or RESULTS / f"overhead_{kind}{args.device}.json")
    print(f"\nratio {result['ratio']['median']:.4f}, goal {result['goal']['ratio']}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--autocast", action="store_true", help="forward and backward in bf16, as with `bf16: true`")
    parser.add_argument("--params", choices=tuple(SHAPES), default="13m", help="size of the model")
    parser.add_argument("--tokens", type=int, default=1088, help="per step")
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--pairs", type=int, default=40)
    parser.add_argument("--warmup", type=int, default=2)
    parser.add_argument("--threads", type=int, default=0, help="of torch; 0: its own choice")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--anchor", action="store_true", help="the anchor run instead of the DBA step")
    parser.add_argument("--elastic", action="store_true", help="elastic restoration instead of the DBA step")
    parser.add_argument("--kronecker", action="store_true", help="elastic with Kronecker factors")
    parser.add_argument(
        "--directions", type=int, default=DBAArguments().dba_curvature_rank, help="of a Kronecker factor, at most"
    )
    parser.add_argument(
        "--products", choices=("float32", "bfloat16"), default="float32", help="with Kronecker factors"
    )
    parser.add_argument("--every", type=int, default=4, help="elastic: steps from one restoration to the next")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--peak", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.kronecker and not args.elastic:
        parser.error("--kronecker is a kind of --elastic")
    if args.products != "float32" and not args.kronecker:
        parser.error("--products is of --kronecker")
    return args


def elastic_name(args: argparse.Namespace) -> str:
    """Of the setting that is measured, as far as it is not the default."""
    kind = "Kronecker factors" + (f" of rank {args.directions}" if args.directions != 512 else "")
    kind += f", products in {args.products}" if args.products != "float32" else ""
    parts = ([kind] if args.kronecker else []) + ([f"every {args.every}"] if args.every != 4 else [])
    return f"elastic ({', '.join(parts)})" if parts else "elastic"


class Bench:
    """One model, its optimizer, and the kinds of step."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args, self.dtype = args, getattr(torch, args.dtype)
        hidden, feed, layers, heads, kv_heads, vocabulary = SHAPES[args.params]
        config = Qwen3Config(
            hidden_size=hidden,
            intermediate_size=feed,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=kv_heads,
            head_dim=hidden // heads,
            vocab_size=vocabulary,
            max_position_embeddings=args.tokens,
            tie_word_embeddings=True,
            use_cache=False,
        )
        self.model = Qwen3ForCausalLM(config).to(device=args.device, dtype=self.dtype).train()
        self.named = dict(self.model.named_parameters())
        self.parameters = list(self.named.values())
        self.tokens = torch.randint(0, vocabulary, (1, args.tokens), device=args.device)
        # a rate at which random weights stay where they are, so that no step is easier than another
        self.optimizer = torch.optim.AdamW(self.parameters, lr=1e-7)
        self.tail_seconds = 0.0
        self._targets: list[Target] = []
        self._held: list[Held] = []
        self._mean: RunningMean | None = None

    @property
    def products(self) -> torch.dtype | None:
        """Of the restoration; None: fp32."""
        return torch.bfloat16 if self.args.products == "bfloat16" else None

    @property
    def targets(self) -> list[Target]:
        """Random factors of the rank asked for, made when first needed: they are part of the memory measured."""
        if not self._targets:
            self._targets = [Target(name, p, self._anchor(p)) for name, p in self.named.items()]
        return self._targets

    @property
    def held(self) -> list[Held]:
        """All tensors with a curvature, factored or of random Kronecker factors, and a copy of the base weights."""
        if not self._held:
            base = {name: p.detach() for name, p in self.named.items()}
            curvature = even_curvature(self.named)
            if self.args.kronecker:
                curvature |= {name: self._kronecker(name, p) for name, p in self.named.items() if p.dim() == 2}
            self._held = make_targets(curvature, self.named, base, whole=self.products is not None)
        return self._held

    @property
    def mean(self) -> RunningMean:
        """Of the anchor run."""
        if self._mean is None:
            shapes = {name: p.shape for name, p in self.named.items()}
            self._mean = RunningMean(shapes, device=self.args.device)
        return self._mean

    def _anchor(self, p: torch.nn.Parameter) -> AnchorTensor:
        rank = self.args.rank
        if p.dim() != 2 or not worthwhile(*p.shape, rank):
            return torch.randn_like(p).mul_(1e-4)
        rows, cols = p.shape
        return LowRank(p.new_empty(rows, rank).normal_(std=1e-4).detach(), p.new_empty(rank, cols).normal_().detach())

    def _kronecker(self, name: str, p: torch.nn.Parameter) -> TensorCurvature:
        """Random directions; the embedding, tied here, has a term for each of its uses, with diagonal rows."""
        rows, columns = (self._spectrum(size) for size in p.shape)
        if "embed_tokens" not in name:
            return TensorCurvature((Term(rows, columns),), None)
        vocabulary = Spectrum(p.new_ones(len(p)), None)
        return TensorCurvature((Term(vocabulary, columns), Term(vocabulary, columns)), None)

    def _spectrum(self, size: int) -> Spectrum:
        rank = min(size, self.args.directions)
        vectors = torch.linalg.qr(torch.randn(size, rank, device=self.args.device)).Q
        return Spectrum(vectors.new_ones(rank), vectors, 0.0 if rank == size else 1.0)

    def backward(self) -> None:
        """Gradients of a language model's loss."""
        self.optimizer.zero_grad()
        with torch.autocast(self.args.device, torch.bfloat16, enabled=self.args.autocast):
            loss = self.model(input_ids=self.tokens, labels=self.tokens).loss
        loss.backward()

    def update(self) -> None:
        """A training step; a DBA step is the same with hooks on the optimizer."""
        self.backward()
        self._clocked(self.optimizer.step)

    def average(self) -> None:
        """A step of the anchor run."""
        self.backward()
        self._clocked(lambda: self.mean.update((name, p.grad) for name, p in self.named.items()))

    def _clocked(self, tail: Callable[[], Any]) -> None:
        # on a GPU this is the time to queue the work only
        start = time.process_time()
        tail()
        self.tail_seconds = time.process_time() - start

    def step(self, kind: str) -> Callable[[], None]:
        """A step of this kind: plain, direct (the same), dba or anchor; with elastic, several."""
        if self.args.elastic:
            return lambda: self.elastic(kind == "elastic")
        if kind != "dba":
            return self.average if kind == "anchor" else self.update
        settings = Settings(boost_magnitude=200.0, use_correction=True, base_correction=0.1, total_steps=1000)
        hook = StepHook(self.targets, settings, current_step=lambda: 0, on_step=lambda record: None)

        def run() -> None:
            attachment = attach(self.optimizer, hook)
            self.update()
            attachment.remove()

        return run

    def elastic(self, active: bool) -> None:
        """As many steps as there are between two restorations."""
        made, remove = 0, None
        if active:
            hook = ElasticHook(
                self.held,
                strength=1e6,
                every=self.args.every,
                total_steps=1000,
                current_step=lambda: made,
                on_restored=lambda record: None,
                products=self.products,
            )
            remove = attach(self.optimizer, hook).remove
        for made in range(self.args.every):  # noqa: B007  read by the hook
            self.update()
        if remove is not None:
            remove()

    def timed(self, kind: str) -> tuple[float, float]:
        """Seconds on the clock and of the processor."""
        run = self.step(kind)
        self.wait()
        wall, processor = time.perf_counter(), time.process_time()
        run()
        self.wait()
        return time.perf_counter() - wall, time.process_time() - processor

    def wait(self) -> None:
        """For the device."""
        if self.args.device == "cuda":
            torch.cuda.synchronize()

    def peak(self, kind: str) -> int:
        """Highest memory of three steps, of this whole process (CPU) or of tensors (CUDA)."""
        run = self.step(kind)
        for _ in range(3):
            run()
        self.wait()
        if self.args.device == "cuda":
            return torch.cuda.max_memory_allocated()
        return peak_of_this_process()

    def factor_bytes(self) -> int:
        """What the anchor takes."""
        parts = [part for t in self.targets for part in (t.anchor if isinstance(t.anchor, LowRank) else (t.anchor,))]
        return sum(part.numel() * part.element_size() for part in parts)

    def blend_bytes(self) -> int:
        """The largest single allocation while all gradients are blended, counted by torch's profiler."""
        self.backward()
        with torch.profiler.profile(profile_memory=True, acc_events=True) as profile:
            for target in self.targets:
                blend_(target.parameter.grad, target.anchor, 0.1)
        field = "device_memory_usage" if self.args.device == "cuda" else "cpu_memory_usage"
        return max(getattr(event, field) for event in profile.events())

    def describe(self) -> dict[str, Any]:
        """For the JSON."""
        names = ("hidden", "feed_forward", "layers", "heads", "kv_heads", "vocabulary")
        numbers = sum(p.numel() for p in self.parameters)
        shape = dict(zip(names, SHAPES[self.args.params], strict=True))
        args = self.args
        rank = {} if args.elastic else {"rank": args.rank}  # row and column sums have none
        if args.kronecker:
            rank = {"rank": args.directions}
        return {"parameters": numbers, **shape, "tokens": args.tokens, **rank, "dtype": self._dtype_name()}

    def _dtype_name(self) -> str:
        return f"{self.args.dtype}, bf16 autocast" if self.args.autocast else str(self.args.dtype)


def peak_in_a_process(args: argparse.Namespace, kind: str) -> int:
    words = [sys.executable, __file__, "--peak", kind, "--threads", str(torch.get_num_threads())]
    words += [f"--{name}" for name in ("elastic", "kronecker", "autocast") if getattr(args, name)]
    for name in ("device", "dtype", "params", "tokens", "rank", "seed", "every", "directions", "products"):
        words += [f"--{name}", str(getattr(args, name))]
    # memory that is freed goes back to the system at once, or the peak would depend on how the heap is fragmented
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
    output = subprocess.run(words, capture_output=True, text=True, check=True, env=environment).stdout
    return int(output.split()[-1])


def spread(values: list[float]) -> dict[str, float]:
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
    return {"median": quartiles[1], "q1": quartiles[0], "q3": quartiles[2], "min": min(values), "max": max(values)}


def ratios(first: list[tuple[float, float]], second: list[tuple[float, float]], clock: int) -> list[float]:
    return [b[clock] / a[clock] for a, b in zip(first, second, strict=True)]


def show(args: argparse.Namespace, first: str, second: str, seconds: dict[str, list[tuple[float, float]]]) -> None:
    walls, processors = (statistics.median(ratios(seconds[first], seconds[second], clock)) for clock in (0, 1))
    line = f"{len(seconds[first])}/{args.pairs}  {first} {seconds[first][-1][0]:.3f} s"
    line += f"  {second} {seconds[second][-1][0]:.3f} s"
    print(f"{line}  ratio so far {walls:.4f}, of processor time {processors:.4f}", flush=True)


if __name__ == "__main__":
    main()
