"""EleutherAI's lm-evaluation-harness as the engine: it batches, sorts, generates and adds up likelihoods.

Its `evaluate` runs one `AnswerTask` per task of ours, and its logged samples are what comes back: questions, parsing
and metrics are ours, so that they are training's and the benchmarks' own. `generate` tasks are asked by token ids
(`prompting`); ``likelihood`` and ``perplexity`` tasks are plain text, tokenized by the harness as in its own tasks.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from lm_eval.api.instance import Instance
from lm_eval.api.task import Task as HarnessTask
from lm_eval.evaluator import evaluate

from ..errors import DBAError
from .definitions import Task
from .prompting import Prompting
from .questions import Question


logging.getLogger("lm_eval").setLevel(logging.ERROR)  # what matters of its warnings is counted here


class Rendered(str):
    """A prompt for lm-eval: the text is what it logs and sorts by, the token ids are what the model gets.

    Attributes:
        ids: token ids, template and all.
        place: of the question in its task.
    """

    ids: tuple[int, ...]
    place: int

    def __new__(cls, text: str, ids: Sequence[int], place: int) -> Rendered:
        """As any text, with two things attached."""
        made = super().__new__(cls, text)
        made.ids, made.place = tuple(ids), place
        return made

    def __getnewargs__(self) -> tuple[Any, ...]:  # copies and pickles keep it
        return str(self), self.ids, self.place


@dataclass
class Observed:
    """What a model class notes while a task runs: places of questions."""

    ended: dict[int, bool] = field(default_factory=dict)
    shortened: set[int] = field(default_factory=set)


class AnswerModel(Protocol):
    """What the engine needs of an lm-eval model beside lm-eval's own interface; `engine_hf`, `engine_vllm`."""

    observed: Observed
    max_length: int
    device_name: str

    def expect(self, tokens: int) -> None:
        """Say how long the longest sequence of the next task will be."""

    def count(self, text: str) -> int:
        """Tokens of a plain text."""


@dataclass(frozen=True)
class Made:
    """Answers to one task.

    Attributes:
        answers: one per question, as plain data. Of ``generate``: text, truncated, and raw where a thought was taken
            off; of ``likelihood``: log_likelihoods in nats and tokens, per choice; of ``perplexity``: nll in nats,
            tokens, words, bytes.
        notes: prompts that did not fit, limits that were lowered.
    """

    answers: list[dict[str, Any]]
    notes: list[str]


class AnswerTask(HarnessTask):
    """A task that is only asked: requests in, responses out, no metrics.

    Args:
        name: of the task.
        requests: per question the instances to run.
    """

    VERSION = 0

    def __init__(self, name: str, requests: Sequence[Sequence[Instance]]) -> None:
        self._groups = requests
        super().__init__()
        self.config.task = name
        self.OUTPUT_TYPE = requests[0][0].request_type

    def download(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the questions are here."""

    def build_all_requests(self, *, rank: int = 0, world_size: int = 1, **kwargs: Any) -> None:
        """The requests as they are; of several processes each takes its share, as lm-eval deals them out."""
        self._instances = [item for group in self._groups[rank::world_size] for item in group]

    def has_training_docs(self) -> bool:
        """No."""
        return False

    def has_validation_docs(self) -> bool:
        """No."""
        return False

    def has_test_docs(self) -> bool:
        """Yes."""
        return True

    def test_docs(self) -> list[dict[str, Any]]:
        """The places of the questions."""
        return [group[0].doc for group in self._groups]

    def doc_to_text(self, doc: dict[str, Any]) -> str:
        """Unused: the requests are made already."""
        return ""

    def doc_to_target(self, doc: dict[str, Any]) -> str:
        """Unused: the scorers know the references."""
        return ""

    def construct_requests(self, doc: dict[str, Any], ctx: str, **kwargs: Any) -> list[Instance]:
        """Unused, as `doc_to_text`."""
        return []

    def process_results(self, doc: dict[str, Any], results: Any) -> dict[str, Any]:
        """No metric of lm-eval's."""
        return {}

    def aggregation(self) -> dict[str, Any]:
        """No metric of lm-eval's."""
        return {}

    def higher_is_better(self) -> dict[str, Any]:
        """No metric of lm-eval's."""
        return {}


def ask(model: Any, prompting: Prompting, task: Task, questions: Sequence[Question]) -> Made:
    """Ask a model all questions of a task.

    Args:
        model: an lm-eval model that is an `AnswerModel`.
        prompting: how it is asked.
        task: for its output and the longest answer.
        questions: at least one.

    Raises:
        DBAError: there is no question, or the model's context has no room for an answer.
    """
    if not questions:
        raise DBAError(f"There is nothing to ask in {task.name}.", expected="one question or more", found="none")
    model.observed.ended.clear()
    model.observed.shortened.clear()
    if task.output == "generate":
        return _generate(model, prompting, task, questions)
    if task.output == "likelihood":
        return _likelihood(model, task, questions)
    return _perplexity(model, task, questions)


def run_harness(model: Any, name: str, requests: Sequence[Sequence[Instance]]) -> list[list[Any]]:
    """Responses of lm-eval's own loop, one list per question, in order."""
    task = AnswerTask(name, requests)
    # bootstrap_iters: intervals are ours
    found = evaluate(lm=model, task_dict={"tasks": {name: task}, "groups": {}}, log_samples=True, bootstrap_iters=0)
    assert found is not None  # None is for further processes, which `run.evaluate` refuses
    samples = sorted(found["samples"][name], key=lambda sample: sample["doc_id"])
    return [[response[0] for response in sample["resps"]] for sample in samples]


def _generate(model: Any, prompting: Prompting, task: Task, questions: Sequence[Question]) -> Made:
    notes: list[str] = []
    room = model.max_length // 2
    limit = min(task.max_new_tokens, room)
    if limit < 1:
        raise DBAError("The model's context is too short to answer.", found=f"{model.max_length} tokens")
    if limit < task.max_new_tokens:
        notes.append(f"answers end at {limit} tokens, not {task.max_new_tokens}: half of the model's context")
    prompts = []
    for place, question in enumerate(questions):
        ids = prompting.render(question.prompt)
        prompts.append(Rendered(prompting.tokenizer.decode(ids), ids, place))
    model.expect(min(model.max_length, max(len(prompt.ids) for prompt in prompts) + limit))
    # one dict for all: lm-eval puts requests with equal settings into one batch
    settings = {"until": [], "max_gen_toks": limit, "do_sample": False, "temperature": 0.0}
    requests = [
        [_instance("generate_until", (prompt, settings), task.name, place)] for place, prompt in enumerate(prompts)
    ]
    responses = run_harness(model, task.name, requests)
    answers = []
    for place, (raw,) in enumerate(responses):
        text = prompting.answer(raw)
        answer: dict[str, Any] = {"text": text, "truncated": not model.observed.ended[place]}
        answers.append(answer | ({"raw": raw} if text != raw.strip() else {}))
    return Made(answers, notes + _shortened(len(model.observed.shortened), len(questions), model))


def _likelihood(model: Any, task: Task, questions: Sequence[Question]) -> Made:
    requests, longest, too_long = [], 0, 0
    counts: list[list[int]] = []
    for place, question in enumerate(questions):
        pairs = [model._encode_pair(question.prompt, choice) for choice in question.choices]
        if not pairs or not all(continuation for _, continuation in pairs):
            raise DBAError(f"{task.name}: a question has no choices, or an empty one.", found=f"question {place}")
        if (widest := max(len(continuation) for _, continuation in pairs)) > model.max_length:
            raise DBAError(
                f"{task.name}: a choice is longer than the model's context, so it has no likelihood.",
                expected=f"at most {model.max_length} tokens",
                found=f"{widest}, question {place}",
                next_step="leave this task out for this model",
            )
        lengths = [len(context) + len(continuation) for context, continuation in pairs]
        longest, too_long = max(longest, *lengths), too_long + (max(lengths) > model.max_length + 1)
        counts.append([len(continuation) for _, continuation in pairs])
        requests.append(
            [
                _instance("loglikelihood", (question.prompt, choice), task.name, place, number)
                for number, choice in enumerate(question.choices)
            ]
        )
    model.expect(min(model.max_length, longest))
    responses = run_harness(model, task.name, requests)
    answers = [
        {"log_likelihoods": [value for value, _ in found], "tokens": tokens}
        for found, tokens in zip(responses, counts, strict=True)
    ]
    return Made(answers, _shortened(too_long, len(questions), model))


def _perplexity(model: Any, task: Task, questions: Sequence[Question]) -> Made:
    texts = [question.reference for question in questions]
    counts = [model.count(text) for text in texts]
    model.expect(min(model.max_length, max(counts)))
    requests = [[_instance("loglikelihood_rolling", (text,), task.name, n)] for n, text in enumerate(texts)]
    answers = [
        {
            "nll": -value,
            "tokens": tokens,
            "words": len(re.split(r"\s+", text)),  # as lm-eval counts them, PerplexityTask.count_words
            "bytes": len(text.encode("utf-8")),
        }
        for (value,), tokens, text in zip(run_harness(model, task.name, requests), counts, texts, strict=True)
    ]
    return Made(answers, [])


def _instance(kind: Any, arguments: tuple[Any, ...], name: str, place: int, number: int = 0) -> Instance:
    return Instance(kind, {"place": place}, arguments, number, metadata=(name, place, 1))


def _shortened(count: int, n: int, model: Any) -> list[str]:
    if not count:
        return []
    return [
        f"{count} of {n} prompts lost their beginning: they are longer than the context, {model.max_length} tokens"
    ]
