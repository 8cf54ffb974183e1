"""The trainer callback of the gauge: measures, logs, keeps the best weights, ends a run without patience."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list
from llamafactory.extras import logging
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from ...errors import DBAError
from ..engine import UNSUPPORTED_ENGINES
from . import base as stored
from . import best
from .log import GaugeLog, Judge, Progress, Record, is_better, record
from .meter import Meter
from .prepare import Plan
from .samples import samples_of


logger = logging.get_logger("llamafactory.dba")

PREFIX = "dba_gauge_"


def attach_gauge(trainer: Any, plan: Plan) -> None:
    """Give `trainer` the gauge, once."""
    if getattr(trainer, "_dba_gauge", None) is None:
        trainer._dba_gauge = GaugeCallback(trainer, plan)
        trainer.add_callback(trainer._dba_gauge)


class GaugeCallback(TrainerCallback):
    """Measures at step 0, every so many steps, and at the end.

    Args:
        trainer: the host's; its model, collator, data and log are used.
        plan: what to measure.
    """

    def __init__(self, trainer: Any, plan: Plan) -> None:
        self.trainer, self.plan = trainer, plan
        self.seconds = 0.0  # of this process; a resumed run's log has those before
        self.records: list[Record] = []
        self._log: GaugeLog | None = None
        self._kept: Record | None = None

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Choose the rows, take up the log, measure the base model."""
        accelerator = self.trainer.accelerator
        engine = str(getattr(getattr(accelerator, "distributed_type", None), "value", "NO"))
        if engine in UNSUPPORTED_ENGINES:
            raise DBAError(
                "The gauge cannot run a model that is sharded over ranks.",
                expected="one process, or plain DDP",
                found=engine,
                next_step="train without DeepSpeed, FSDP and Megatron, or set `dba_gauge_steps: 0`",
            )
        started = time.perf_counter()
        tokenizer = self.trainer.processing_class  # or a processor that holds one
        chosen = samples_of(self.trainer, self.plan)
        self._meter = Meter(
            model=self.trainer.model,
            collate=self.trainer.data_collator,
            general=chosen.general,
            domain=chosen.domain,
            training=chosen.training,
            exact=self.plan.stage == "sft",
            score=self.plan.score,
            batch=1 if self.plan.packed else args.per_device_eval_batch_size,
            end=getattr(getattr(tokenizer, "tokenizer", tokenizer), "eos_token_id", None),
            rank=accelerator.process_index,
            world=accelerator.num_processes,
        )
        self._begin(args, state)
        logger.info_rank0(f"DBA gauge: {chosen.describe()}.")
        stored_bytes = self._prepare_base(args, state)
        self.seconds += time.perf_counter() - started
        if state.global_step == 0:
            self._measure(args, state, control)
            self._say_what_it_costs(state, stored_bytes)
        else:
            logger.info_rank0(f"DBA gauge: goes on after step {state.global_step}; {len(self.records)} lines kept.")

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Measure when it is time to."""
        due = state.global_step % self.plan.steps == 0 or state.global_step >= state.max_steps
        if due or control.should_training_stop:
            self._measure(args, state, control)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Say what it cost and what was best."""
        measured = self.records and self.records[-1].step == state.global_step
        if not measured and not args.load_best_model_at_end:  # which has put other weights into the model
            self._measure(args, state, control)
        total = sum(item.seconds for item in self.records)
        logger.info_rank0(
            f"DBA gauge: {len(self.records)} measurements took {total:.1f} s; {self.seconds:.1f} s of this run with "
            "choosing the rows."
        )
        found = self.progress.best
        if found is not None:
            name = self.progress.judge or ""
            logger.info_rank0(
                f"DBA gauge: best {name} {found.values[name]:.4g} at step {found.step}, "
                f"last {_shown(self.records[-1].values.get(name))}."
            )
            if self.plan.keep_best and self._kept is None:
                logger.warning_rank0(
                    "DBA gauge: no step was better than the base model, so no weights were kept as the best."
                )

    @property
    def judge(self) -> Judge | None:
        """What decides which measurement is the best one."""
        if self.plan.general is None:
            return None
        return "s" if self._meter.domain is not None and self.plan.stage == "sft" else "general_loss"

    def _begin(self, args: TrainingArguments, state: TrainerState) -> None:
        if self.plan.keep_best and self.judge != "s":
            raise DBAError(
                "`dba_gauge_keep_best` keeps the best S, but there are no held-out domain rows.",
                expected="`dba_gauge_domain_dataset`, `eval_dataset` or `val_size`",
                found="none",
            )
        self.progress = Progress(self.judge, self.plan.patience)
        folder, resumed = Path(args.output_dir, best.FOLDER), state.global_step > 0
        if state.is_world_process_zero:
            self._log = GaugeLog(args.output_dir, state.global_step if resumed else None)
            self.records = list(self._log.records)
            if self.plan.keep_best and resumed:
                # A killed run may have kept later weights than its checkpoint. They stay: a resumed run makes them
                # again, and if it does not, they are still the best there were.
                self._kept = best.read(folder)
            elif self.plan.keep_best and folder.exists():
                logger.warning_rank0(f"DBA gauge: {folder} of an earlier run is removed.")
                best.remove(folder)
        self.records, self._kept = broadcast_object_list([self.records, self._kept])
        self.progress.replay(self.records)

    def _prepare_base(self, args: TrainingArguments, state: TrainerState) -> int:
        if self._meter.training is None:
            return 0
        folder = Path(args.output_dir, stored.FOLDER)
        if state.global_step == 0:
            return self._meter.remember_base(folder)
        folders, checkpoint = [folder], args.resume_from_checkpoint
        if isinstance(checkpoint, str):  # a checkpoint of another output folder
            folders.append(Path(checkpoint).parent / stored.FOLDER)
        self._meter.recall_base(folders)
        return 0

    def _measure(self, args: TrainingArguments, state: TrainerState, control: TrainerControl) -> None:
        if self.records and self.records[-1].step >= state.global_step:
            return  # the last step may be one of the chosen ones as well
        started = time.perf_counter()
        values = self._meter.measure()
        item = record(state.global_step, values, time.perf_counter() - started)
        self.records.append(item)
        self.seconds += item.seconds
        if self._log is not None:
            self._log.add(item)
        self._to_trainer(item, control)
        if self.progress.add(item) and self.plan.keep_best and item.step > 0:
            self._keep(args, item)
        if self.progress.exhausted and not control.should_training_stop:
            found = self.progress.best
            control.should_training_stop = True
            logger.info_rank0(
                f"DBA gauge: stops at step {item.step}: {self.progress.since} measurements without a better "
                f"{self.progress.judge} than at step {found.step if found else 'none'} (`dba_gauge_patience`)."
            )

    def _keep(self, args: TrainingArguments, item: Record) -> None:
        kept = self._kept and self._kept.values.get("s")
        if not is_better("s", item.values.get("s"), kept):
            return  # of the run before it was killed, see `_begin`
        started = time.perf_counter()
        if args.should_save:
            best.keep(
                Path(args.output_dir, best.FOLDER),
                item,
                lambda place: self.trainer.save_model(place, _internal_call=True),
            )
        self._kept = item
        self.seconds += time.perf_counter() - started

    def _to_trainer(self, item: Record, control: TrainerControl) -> None:
        """Console, trainer_state.json and trackers."""
        logs = {PREFIX + name: value for name, value in item.values.items() if value is not None}
        asked = control.should_log
        self.trainer.log({**logs, PREFIX + "seconds": item.seconds})
        control.should_log = asked  # logging takes the request back, and the training's own line is still due

    def _say_what_it_costs(self, state: TrainerState, stored_bytes: int) -> None:
        count = 1 + -(-state.max_steps // self.plan.steps)
        each = self.records[-1].seconds
        kept = f"; what the base says takes {stored_bytes / 2**20:.1f} MiB in {stored.FOLDER}" if stored_bytes else ""
        logger.info_rank0(
            f"DBA gauge: a measurement takes {each:.2f} s, {count} of them (every {self.plan.steps} steps, the base "
            f"and the end) about {count * each:.1f} s, while the training waits{kept}."
        )


def _shown(value: float | None) -> str:
    return "not finite" if value is None else f"{value:.4g}"
