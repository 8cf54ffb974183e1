"""A model's answers to tasks, from the cache or by asking, and their scores."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..anchor.fingerprint import read_base_model
from ..errors import DBAError
from . import cache as store
from .cache import Kept, Key
from .definitions import Task
from .model_hash import ModelFiles, find_files, hash_model
from .prompting import AUTO, Prompting, load_tokenizer, open_prompting
from .scoring import Answer, Likelihoods, Measured, TextLoss, score
from .selection import Asked


BACKENDS = ("hf", "vllm")
DTYPES = ("auto", "float32", "bfloat16", "float16")
EXTRA = "pip install 'llamafactory-dba[eval]'"
Say = Callable[[str], None]


@dataclass(frozen=True)
class ModelSpec:
    """Which model, and how it is asked.

    Attributes:
        model: folder or hub id of a full model.
        adapter: folder or hub id of a LoRA adapter on it.
        template: as of `prompting.open_prompting`.
        thinking: as there.
        dtype: of the weights; ``auto``: float32 on a CPU, elsewhere the one that the model is saved in.
        device: such as ``cuda:0``; None: a GPU if there is one.
        batch_size: ``auto`` or a number.
        backend: ``hf`` or ``vllm``.
        trust_remote_code: whether code that comes with the model may run.
    """

    model: str
    adapter: str | None = None
    template: str = AUTO
    thinking: bool = False
    dtype: str = "auto"
    device: str | None = None
    batch_size: str = "auto"
    backend: str = "hf"
    trust_remote_code: bool = False


@dataclass(frozen=True)
class Done:
    """A task that was measured. ``cached``: the answers were there already; ``answers`` as of `engine.Made`."""

    asked: Asked
    answers: list[Any]
    measured: tuple[Measured, ...]
    seconds: float
    cached: bool
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Measurement:
    """Everything about one model."""

    spec: ModelSpec
    files: ModelFiles
    model_hash: str
    dtype: str
    device: str
    done: tuple[Done, ...]
    limit: int | None = None
    seconds: float = 0.0


def check_spec(spec: ModelSpec) -> None:
    """Refuse settings that cannot work, and an installation that lacks the engine.

    Raises:
        DBAError: one of them.
    """
    if find_spec("lm_eval") is None:
        raise DBAError(
            "lm-evaluation-harness is not installed; `evaluate` runs on it.",
            expected="the package lm_eval, which comes with the extra `eval`",
            found="no lm_eval in this environment",
            next_step=EXTRA,
        )
    if spec.dtype not in DTYPES or spec.backend not in BACKENDS:
        raise DBAError(
            "An option has no such value.",
            expected=f"--dtype {'|'.join(DTYPES)}, --backend {'|'.join(BACKENDS)}",
            found=f"--dtype {spec.dtype}, --backend {spec.backend}",
        )
    if spec.batch_size != "auto" and not (spec.batch_size.isdigit() and int(spec.batch_size) > 0):
        raise DBAError("The batch size is none.", expected="--batch-size auto, or 1 or more", found=spec.batch_size)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise DBAError(
            "One process evaluates one model.",
            expected="no torchrun or accelerate launch",
            found=f"WORLD_SIZE={os.environ['WORLD_SIZE']}",
            next_step="start the command itself; on several GPUs, one process per suite with --device",
        )


def measure(
    spec: ModelSpec,
    asked: Sequence[Asked],
    *,
    folder: Path | None,
    limit: int | None = None,
    files: ModelFiles | None = None,
    say: Say = lambda line: None,
) -> Measurement:
    """Ask a model the questions of all tasks, one task after another, and score its answers.

    Args:
        spec: the model.
        asked: the questions.
        folder: of the cache; None: nothing is kept.
        limit: that the questions were loaded with.
        files: of the model, if found already.
        say: called with a line per task.

    Raises:
        DBAError: the model cannot be found, asked or loaded.
    """
    started = time.perf_counter()
    files = files or find_files(spec.model, spec.adapter)
    model_hash = hash_model(files, folder)
    device = _device(spec)
    dtype = _dtype(spec, files, device)

    def key_of(each: Asked) -> Key:
        return Key(
            model=model_hash,
            backend=spec.backend,
            template=spec.template,
            thinking=spec.thinking,
            dtype=dtype,
            task=each.task.name,
            task_version=each.task.version,
            data=each.questions.data_hash,
            limit=limit,
        )

    def finish(each: Asked, kept: Kept, cached: bool) -> Done:
        answers = [as_answer(each.task, answer) for answer in kept.answers]
        found = tuple(score(each.task, each.questions.questions, answers))
        return Done(each, kept.answers, found, kept.seconds, cached, tuple(kept.notes))

    engine: _Engine | None = None
    done = []
    for number, each in enumerate(asked, 1):
        kept = store.load(folder, key_of(each))
        cached = kept is not None and len(kept.answers) == len(each.questions.questions)
        if kept is None or not cached:
            engine = engine or _Engine(spec, files, device, dtype)
            begun = time.perf_counter()
            made = engine.ask(each)
            kept = Kept(made.answers, time.perf_counter() - begun, made.notes)
            store.save(folder, key_of(each), kept)
        done.append(finish(each, kept, cached))
        main = done[-1].measured[0]
        how = "kept" if cached else f"{kept.seconds:.1f} s"
        say(f"[{number}/{len(asked)}] {each.task.name}: {main.metric} {main.value:.2f}, n = {main.n} ({how})")
    seconds = time.perf_counter() - started
    return Measurement(spec, files, model_hash, dtype, device, tuple(done), limit, seconds)


class _Engine:
    """A loaded model with its prompts: made when the first task is not in the cache."""

    def __init__(self, spec: ModelSpec, files: ModelFiles, device: str, dtype: str) -> None:
        self._prompting = prompting_of(spec, files)
        if spec.backend == "vllm":
            from .engine_vllm import load_vllm, vllm_arguments

            self._model = load_vllm(
                self._prompting,
                vllm_arguments(
                    files.folder,
                    adapter=files.adapter,
                    tokenizer=files.tokenizer,
                    dtype=dtype,
                    batch_size=spec.batch_size,
                    trust_remote_code=spec.trust_remote_code,
                ),
            )
            return
        from .engine_hf import load_hf

        self._model = load_hf(
            files.folder,
            self._prompting,
            adapter=files.adapter,
            device=device,
            dtype=dtype,
            batch_size=spec.batch_size,
            trust_remote_code=spec.trust_remote_code,
        )

    def ask(self, each: Asked) -> Any:
        from .engine import ask

        return ask(self._model, self._prompting, each.task, each.questions.questions)


def prompting_of(spec: ModelSpec, files: ModelFiles) -> Prompting:
    """How the model is asked. Raises as `prompting.open_prompting`."""
    return open_prompting(
        load_tokenizer(files.tokenizer, trust_remote_code=spec.trust_remote_code),
        spec.template,
        thinking=spec.thinking,
        end_ids=_end_ids(files.folder),
        vocabulary=read_base_model(files.folder).vocab_size or 1 << 31,
    )


def as_answer(task: Task, raw: dict[str, Any]) -> Answer | Likelihoods | TextLoss:
    """What `scoring` takes, from plain data of `engine.Made`."""
    if task.output == "generate":
        return Answer(raw["text"], raw["truncated"])
    if task.output == "likelihood":
        return Likelihoods(tuple(raw["log_likelihoods"]), tuple(raw["tokens"]))
    return TextLoss(**raw)


def unparsed_examples(done: Done, count: int) -> list[tuple[str, str]]:
    """Prompt and answer of the first answers that could not be read."""
    task, questions = done.asked.task, done.asked.questions.questions
    if task.output != "generate" or not done.measured[0].unparsed:
        return []
    found: list[tuple[str, str]] = []

    def search(low: int, high: int) -> None:  # halves without any are left out
        part = [as_answer(task, answer) for answer in done.answers[low:high]]
        try:
            missing = score(task, questions[low:high], part)[0].unparsed
        except DBAError:  # a part that the task's own rules skip whole
            missing = 0
        if not missing or len(found) >= count:
            return
        if high - low == 1:
            found.append((questions[low].prompt, done.answers[low].get("raw", done.answers[low]["text"])))
            return
        middle = (low + high) // 2
        search(low, middle)
        search(middle, high)

    search(0, len(questions))
    return found


def _device(spec: ModelSpec) -> str:
    import torch

    if spec.device is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=spec.device)
    except Exception as error:  # torch raises RuntimeError, AssertionError or its own, by backend
        raise DBAError(
            "The device cannot be used.", expected="--device cpu, cuda, cuda:1, …", found=f"{spec.device}: {error}"
        ) from error
    return spec.device


def _dtype(spec: ModelSpec, files: ModelFiles, device: str) -> str:
    if spec.dtype != "auto":
        return spec.dtype
    if device == "cpu":
        return "float32"
    config = _json(files.folder / "config.json")
    text = config.get("text_config") or {}
    saved = config.get("dtype") or config.get("torch_dtype") or text.get("dtype") or text.get("torch_dtype")
    return saved if saved in DTYPES else "float32"


def _end_ids(folder: Path) -> tuple[int, ...]:
    ends = _json(folder / "generation_config.json").get("eos_token_id")
    return () if ends is None else tuple(ends) if isinstance(ends, list) else (ends,)


def _json(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}
