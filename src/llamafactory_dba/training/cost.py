"""Measures what a training costs, beside it: nothing here changes a number of the run or waits for the device."""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import torch


POWERCAP = Path("/sys/class/powercap")
READ_EVERY = 30.0  # seconds; a package's counter starts again after some 260 kJ, which takes minutes at full load


class Clock:
    """Adds up the time between `start` and `stop`.

    On a CPU by the monotonic clock. On CUDA by events of the current stream, so that work which the device does later
    counts where it belongs, and nothing waits: an event costs some microseconds of host time.

    Args:
        device: where the measured work runs.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self._total = 0.0
        self._begun: Any = None
        self._pending: deque[tuple[Any, Any]] = deque()

    def start(self) -> None:
        """Begin a stretch; one that was begun and not stopped is forgotten."""
        self._begun = self._now()

    def stop(self) -> None:
        """End the stretch; without one, nothing happens."""
        if self._begun is None:
            return
        end = self._now()
        if self._cuda:
            self._pending.append((self._begun, end))
            self._collect(wait=False)
        else:
            self._total += end - self._begun
        self._begun = None

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """``function`` with its time added."""

        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            self.start()
            try:
                return function(*args, **kwargs)
            finally:
                self.stop()

        return wrapper

    def take(self) -> float:
        """Seconds since the last call; waits for the device."""
        self._collect(wait=True)
        total, self._total = self._total, 0.0
        return total

    def _now(self) -> Any:
        if not self._cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _collect(self, wait: bool) -> None:
        while self._pending and (wait or self._pending[0][1].query()):
            start, end = self._pending.popleft()
            end.synchronize()
            self._total += start.elapsed_time(end) / 1000


class TokenCounter:
    """Counts the tokens that a model is trained on, padding left out.

    A hook on the model's forward pass: it sees every batch that is trained on in this process, whatever the loop, the
    stage and the collator are. Passes without gradients (evaluation, a reference model) do not count. The host's own
    ``num_input_tokens_seen`` is off by default, and switching it on adds a collective to every step.
    """

    def __init__(self, model: torch.nn.Module, *, compiled: bool = False) -> None:
        self._total: torch.Tensor | int = 0
        # dynamo would trace into the hook and compile again whenever the sum changes
        hook = torch.compiler.disable(self._count) if compiled else self._count
        self._handle = model.register_forward_pre_hook(hook, with_kwargs=True)

    def take(self) -> int:
        """Tokens since the last call; waits for the device."""
        total, self._total = int(self._total), 0
        return total

    def remove(self) -> None:
        """Take the hook off the model."""
        self._handle.remove()

    def _count(self, module: torch.nn.Module, args: Any, kwargs: dict[str, Any]) -> None:
        if module.training and torch.is_grad_enabled():
            with torch.no_grad():
                self._total = self._total + count_tokens(kwargs, args)


def count_tokens(inputs: dict[str, Any], args: tuple[Any, ...] = ()) -> torch.Tensor | int:
    """Tokens of a batch that are no padding; a 0-d tensor on its device.

    Args:
        inputs: of the forward pass. ``attention_mask`` may be (batch, length), with 0 for padding, or, for packed
            rows, (batch, 1, length, length) with 0 (or True) where attention is allowed: there every token that is
            no padding may at least attend to itself. Without a mask there is no padding.
        args: positional inputs; the first one stands for missing ``input_ids``.
    """
    mask = inputs.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.dim() == 4:
        own = mask[:, 0].diagonal(dim1=-2, dim2=-1)
        return (own if own.dtype == torch.bool else own == 0).sum()
    if isinstance(mask, torch.Tensor) and mask.dim() == 2:
        return (mask != 0).sum()
    ids = inputs.get("input_ids", args[0] if args else None)
    if ids is None:
        embeds = inputs.get("inputs_embeds")
        return 0 if embeds is None else embeds.shape[0] * embeds.shape[1]
    return int(ids.numel())


class Counter(NamedTuple):
    """One energy counter: µJ now, and the value (µJ) at which it starts again at 0 (None: never)."""

    read: Callable[[], int]
    wraps_at: int | None


class EnergyMeter:
    """Joules since the last `take`, from the platform's own counters.

    Accelerators through NVML (of the device of this process). Processors through RAPL, below /sys/class/powercap,
    which counts whole packages with everything else that runs on them, and is read by one process per machine.

    Args:
        device: of this process.
        first_on_machine: whether this process reads the processor's counters.
        powercap: folder of the RAPL counters.
    """

    def __init__(self, device: torch.device, first_on_machine: bool = True, powercap: Path = POWERCAP) -> None:
        self.sources: list[str] = []
        counters = _device_counters(device) if device.type == "cuda" else []
        if counters:
            self.sources.append("nvml")
        # without the accelerator's share, the processor's would look like the energy of the run
        if device.type == "cpu" or counters:
            packages = _package_counters(powercap) if first_on_machine else []
            if packages:
                self.sources.append("rapl")
            counters = [*counters, *packages]
        # a further CPU process has nothing to add to what the first one reads
        self.known = bool(counters) or (device.type == "cpu" and not first_on_machine)
        self._counters = counters
        self._last = [counter.read() for counter in counters]
        self._joules, self._read_at = 0.0, time.monotonic()

    def keep_up(self) -> None:
        """Read now and then, so that no counter starts again unnoticed; costs nothing most of the time."""
        if self._counters and time.monotonic() - self._read_at > READ_EVERY:
            self._read()

    def take(self) -> float | None:
        """Joules since the last call; None where the platform reports nothing."""
        self._read()
        if not self.known:
            return None
        joules, self._joules = self._joules, 0.0
        return joules

    def _read(self) -> None:
        try:
            now = [counter.read() for counter in self._counters]
        except Exception:  # a driver that went away must not end the training
            self.known, self._counters = False, []
            return
        for counter, old, new in zip(self._counters, self._last, now, strict=True):
            self._joules += (new - old + (counter.wraps_at or 0 if new < old else 0)) / 1e6
        self._last, self._read_at = now, time.monotonic()


def _package_counters(folder: Path) -> list[Counter]:
    """RAPL's top level: one per package; what lies below (cores, memory) is part of it or not everywhere there."""
    found = []
    for zone in sorted(folder.glob("*-rapl:*")):
        with contextlib.suppress(OSError, ValueError):  # only root may read it on most systems
            if zone.name.count(":") == 1 and (zone / "name").read_text().startswith("package"):
                read = functools.partial(_number_in, zone / "energy_uj")
                read()
                found.append(Counter(read, _number_in(zone / "max_energy_range_uj")))
    return found


def _number_in(path: Path) -> int:
    return int(path.read_text())


def _device_counters(device: torch.device) -> list[Counter]:
    try:
        nvml = importlib.import_module("pynvml")
        nvml.nvmlInit()
        # by UUID: NVML counts all devices of the machine, torch those that CUDA_VISIBLE_DEVICES leaves
        uuid = f"GPU-{torch.cuda.get_device_properties(device).uuid}"
        handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except Exception:  # not installed, no driver, or a device older than Volta
        return []
    return [Counter(lambda: 1000 * int(nvml.nvmlDeviceGetTotalEnergyConsumption(handle)), None)]


def peak_host_bytes() -> int:
    """Largest resident memory of this process since its start."""
    if sys.platform == "win32":
        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def peak_device_bytes(device: torch.device) -> int | None:
    """Most that torch had allocated on the device since the program's start; None on a CPU."""
    return torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None


class Amounts(NamedTuple):
    """What is measured in each process. None means not measured; in one process means in none."""

    tokens: int | None
    energy_joules: float | None
    peak_host_bytes: int | None
    peak_device_bytes: int | None


def over_processes(own: Amounts, device: torch.device) -> Amounts:
    """Sums over all processes, and the maximum of the device's peak; a collective where there are several."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return own
    values = torch.tensor([float("nan") if x is None else float(x) for x in own], dtype=torch.float64, device=device)
    sums, most = values.clone(), values.clone()
    torch.distributed.all_reduce(sums)
    torch.distributed.all_reduce(most, op=torch.distributed.ReduceOp.MAX)

    def whole(values: torch.Tensor) -> Iterator[float | None]:
        return (None if value != value else value for value in values.tolist())

    tokens, joules, host, _ = whole(sums)
    device_peak = list(whole(most))[3]
    return Amounts(_int(tokens), joules, _int(host), _int(device_peak))


def _int(value: float | None) -> int | None:
    return None if value is None else int(value)
