"""Runs a plan: anchors and base scores, then trainings with their measurements, over the slots at hand."""

from __future__ import annotations

import contextlib
import errno
import json
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import DBAError
from ..files import write_file
from .guard import terminate_as_interrupt
from .inventory import LOGS_BYTES, Inventory, Step, duration, forecast, free_bytes
from .jobs import LOG, OUT, Jobs
from .measure import has_model, remove_model
from .plan import AnchorPlan, BasePlan, RunPlan
from .pool import Slot
from .sources import digest
from .state import DIVERGED, DONE, ENDED, FAILED, TRAINED, Status, write_status
from .wording import Failure, in_words


Say = Callable[[str], None]
CHECKED = ".checked"
SNAPSHOT_SECONDS = 300.0  # between tables of what is done so far: a killed call leaves no older ones
FULL_DISK = ("No space left on device", f"Errno {errno.ENOSPC}", "Disk quota exceeded", f"Errno {errno.EDQUOT}")
NOT_FINITE = ("finite gradients", "non-finite", "not finite", "is nan", "nan or inf")


class Runner:
    """One call of `compare` on one folder.

    Args:
        inventory: what is to be done.
        out: the folder.
        slots: where it is done.
        say: called with lines about progress.
        snapshot: is given the statuses every few minutes, to write tables of them.
    """

    def __init__(
        self,
        inventory: Inventory,
        out: Path,
        slots: Sequence[Slot],
        say: Say,
        snapshot: Callable[[Mapping[str, Status]], None] = lambda statuses: None,
    ) -> None:
        self.inventory = inventory
        self.suite = inventory.plan.suite
        self.jobs = Jobs(inventory.plan, out)
        self.out = out
        self.slots = slots
        self.say = say
        self.statuses = dict(inventory.statuses)
        self.failures: list[Failure] = []
        self.ended: set[str] = set()
        self.stopped = ""  # why nothing more is begun
        self._lock = threading.Lock()
        self._snapshot = snapshot
        self._shown = time.monotonic()  # when the last snapshot was made

    def run(self) -> None:
        """Do everything that is left; failures are in ``failures``.

        Raises:
            DBAError: the host refuses settings; nothing was begun then.
            KeyboardInterrupt: the user stopped it; what was under way is begun again by the next start.
        """
        with terminate_as_interrupt(), self._closing():
            self._check_settings()
            self._prepare()
            steps = self.inventory.todo
            self._all([step for step in steps if not isinstance(step, RunPlan)])
            self._all([step for step in steps if isinstance(step, RunPlan) and not step.of])
        shutil.rmtree(self.out / ".cache", ignore_errors=True)

    def _check_settings(self) -> None:
        """Once for each set of settings: the host parses them all before anything is trained."""
        configs: dict[str, dict[str, Any]] = {}
        for step in self.inventory.todo:
            if isinstance(step, BasePlan) or (isinstance(step, RunPlan) and step.of):
                continue
            keys = {key: value for key, value in self.jobs.keys(step).items() if key not in ("seed", "output_dir")}
            name = step.folder if isinstance(step, AnchorPlan) else f"{step.label} on {step.base}, {step.domain}"
            configs.setdefault(digest(keys), {"name": name, "keys": keys})
        tools = [version(name) for name in ("llamafactory", "llamafactory-dba")]
        marker, now = self.out / CHECKED, digest([tools, sorted(configs)])
        if not configs or (marker.is_file() and marker.read_text(encoding="utf-8") == now):
            return
        log = self.out / "check.log"
        self.say(f"checking {len(configs)} different settings with LLaMA-Factory's own parser")
        answer = self.slots[0].do({"kind": "check", "configs": list(configs.values()), "log": str(log)})
        if answer.value is None:
            raise DBAError("The settings could not be checked.", found=answer.error, next_step=f"see {log}")
        if problems := answer.value["problems"]:
            raise DBAError(
                f"The suite {self.suite.name} has settings that LLaMA-Factory does not take; nothing was begun:\n"
                + "\n".join(f"  - {text}" for text in problems)
            )
        write_file(marker, now)
        log.unlink(missing_ok=True)

    def _prepare(self) -> None:
        """Mixtures' descriptors; weights that a killed run left behind."""
        todo = {step.folder for step in self.inventory.todo}
        for run in self.inventory.plan.runs:
            if run.mix is not None:
                folder = self.out / run.mix.folder
                folder.mkdir(parents=True, exist_ok=True)
                write_file(folder / "dataset_info.json", json.dumps(run.mix.info, indent=2, ensure_ascii=False) + "\n")
            status = self.statuses.get(run.folder)
            ended = status is not None and status.state in ENDED and run.folder not in todo
            if ended and not self.suite.keep_models:
                remove_model(self.out / run.folder / OUT)

    def _all(self, steps: Sequence[Step]) -> None:
        work: queue.SimpleQueue[Step] = queue.SimpleQueue()
        for step in steps:
            work.put(step)

        def serve(slot: Slot) -> None:
            while not self.stopped:
                try:
                    step = work.get_nowait()
                except queue.Empty:
                    return
                try:
                    self._one(slot, step)
                except OSError as error:  # our own files: a full disk, or a folder that is gone
                    self._stop(f"{type(error).__name__}: {error}")
                    self._fail(step, str(error))
                except Exception as error:  # a slot that ended here would leave its steps undone without a word
                    self._fail(step, f"{type(error).__name__}: {error}")

        threads = [threading.Thread(target=serve, args=(slot,), daemon=True) for slot in self.slots]
        for thread in threads:
            thread.start()
        for thread in threads:
            while thread.is_alive():  # with a timeout, so that Ctrl-C is heard
                thread.join(0.2)
                self._show()

    def _show(self) -> None:
        if time.monotonic() - self._shown < SNAPSHOT_SECONDS or self.stopped:
            return
        with self._lock:
            statuses = dict(self.statuses)
        try:
            self._snapshot(statuses)
        except OSError as error:  # the disk: the next step says so as well
            self._stop(f"{type(error).__name__}: {error}")
        self._shown = time.monotonic()

    def _one(self, slot: Slot, step: Step) -> None:
        free = free_bytes(self.out)
        if free < LOGS_BYTES:
            self._stop(f"the disk is full ({free} bytes free)")
            return
        folder = self.out / step.folder
        folder.mkdir(parents=True, exist_ok=True)
        if isinstance(step, AnchorPlan):
            self._anchor(slot, step, folder)
        elif isinstance(step, BasePlan):
            self._base(slot, step, folder)
        else:
            self._run(slot, step, folder)

    def _anchor(self, slot: Slot, step: AnchorPlan, folder: Path) -> None:
        begun = time.monotonic()
        shutil.rmtree(folder / "anchor", ignore_errors=True)  # half written; <anchor>.partial is resumed from
        answer = slot.do(self.jobs.train(step, folder), self.suite.timeout)
        if answer.value is None or not (folder / "anchor" / "anchor_config.json").is_file():
            self._fail(step, answer.error or "it left no anchor", folder / LOG)
            return
        self._finish(step, folder, Status(step.hash, DONE, time.monotonic() - begun))

    def _base(self, slot: Slot, step: BasePlan, folder: Path) -> None:
        begun = time.monotonic()
        answer = slot.do(self.jobs.base(step, folder), self.suite.timeout)
        if answer.value is None:
            self._fail(step, answer.error, folder / "measure.log")
            return
        self._finish(step, folder, Status(step.hash, DONE, time.monotonic() - begun, scores=answer.value))

    def _run(self, slot: Slot, step: RunPlan, folder: Path) -> None:
        begun, before = time.monotonic(), 0.0
        if (missing := self._missing(step)) is not None:
            self._fail(step, missing)
            return
        output = folder / OUT
        status = self.statuses.get(step.folder)
        if status is not None and status.state in (TRAINED, *ENDED) and has_model(output):
            before = status.seconds if status.state == TRAINED else 0.0
        else:
            if status is not None or not any(output.glob("checkpoint-*/trainer_state.json")):
                shutil.rmtree(output, ignore_errors=True)
            answer = slot.do(self.jobs.train(step, folder), self.suite.timeout)
            if answer.value is None:
                if any(text in answer.error.lower() for text in NOT_FINITE):
                    self._diverge(step, folder, answer.error, time.monotonic() - begun)
                else:
                    self._fail(step, answer.error, folder / LOG)
                return
            self._write(step, folder, Status(step.hash, TRAINED, time.monotonic() - begun))
        answer = slot.do(self.jobs.measure(step, folder), self.suite.timeout)
        seconds = before + time.monotonic() - begun
        if answer.value is None:
            self._fail(step, answer.error, folder / "measure.log", keep=True)
            return
        wanted = ("s_d", "s_g", "s", "tasks", "gauge", "step_overhead")
        scores = {key: answer.value[key] for key in wanted if key in answer.value}
        if "diverged" in answer.value:
            self._diverge(step, folder, answer.value["diverged"], seconds, scores)
        else:
            for child in self.jobs.children(step):
                place = self.out / child.folder
                points = tuple(answer.value["points"][str(place)])
                self._write(child, place, Status(child.hash, DONE, points=points))
            self._finish(step, folder, Status(step.hash, DONE, seconds, scores=scores))
        if not self.suite.keep_models and not self.stopped:
            remove_model(output)

    def _missing(self, step: RunPlan) -> str | None:
        """What the run needs and could not be made."""
        needed: list[Step] = [self.jobs.base_plan(step), *([step.anchor] if step.anchor is not None else [])]
        for each in needed:
            if self.statuses.get(each.folder, Status("", FAILED)).state not in ENDED:
                return f"not begun: {each.folder} failed"
        return None

    def _diverge(
        self, step: RunPlan, folder: Path, why: str, seconds: float, scores: Mapping[str, Any] | None = None
    ) -> None:
        for child in self.jobs.children(step):
            place = self.out / child.folder
            place.mkdir(parents=True, exist_ok=True)
            self._write(child, place, Status(child.hash, DIVERGED, error=f"{child.of} diverged"))
        self._finish(step, folder, Status(step.hash, DIVERGED, seconds, why, scores or {}))

    def _finish(self, step: Step, folder: Path, status: Status) -> None:
        self._write(step, folder, status)
        if not self.stopped:
            self._line(step, status)

    def _write(self, step: Step, folder: Path, status: Status) -> None:
        if self.stopped == "interrupted":  # its worker was ended by us: that is no result
            return
        write_status(folder, status)
        with self._lock:
            self.statuses[step.folder] = status

    def _fail(self, step: Step, error: str, log: Path | None = None, keep: bool = False) -> None:
        if self.stopped == "interrupted":
            return
        name = step.name if isinstance(step, RunPlan) else step.folder
        with self._lock:
            self.failures.append(Failure(name, error, log))
        full = any(text in error for text in FULL_DISK)
        if full:
            self._stop(f"the disk is full ({name})")
        if not keep and isinstance(step, RunPlan):  # what a failed training left is of no use, and takes room
            shutil.rmtree(self.out / step.folder / OUT, ignore_errors=True)
        if not keep:  # of a run whose measurement failed alone, the weights and the status `trained` stay
            with contextlib.suppress(OSError):
                (self.out / step.folder).mkdir(parents=True, exist_ok=True)
                self._write(step, self.out / step.folder, Status(step.hash, FAILED, error=error))
        self._line(step, Status(step.hash, FAILED, error=error))

    def _line(self, step: Step, status: Status) -> None:
        with self._lock:
            self.ended.add(step.folder)
            if isinstance(step, RunPlan):
                seconds_of = forecast(self.inventory.plan, self.statuses)
                left = sum(
                    seconds
                    for run in self.inventory.runs
                    if run.folder not in self.ended and (seconds := seconds_of(run)) is not None
                )
                remaining = f"; {duration(left / len(self.slots))} left" if left else ""
            else:
                remaining = ""
            total = len([one for one in self.inventory.todo if not (isinstance(one, RunPlan) and one.of)])
            name = step.name if isinstance(step, RunPlan) else step.folder
            self.say(f"[{len(self.ended)}/{total}] {name}: {in_words(status)}{remaining}")

    def _stop(self, why: str) -> None:
        with self._lock:
            self.stopped = self.stopped or why

    @contextlib.contextmanager
    def _closing(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.stopped = "interrupted"
            raise
        finally:
            for slot in self.slots:
                slot.close()
