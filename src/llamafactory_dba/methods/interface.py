"""What a method that edits gradients with the anchor's mean gradient has to offer, and what it is given.

`training.callback.DBACallback` does everything that is the same for all of them: it loads and matches the anchor,
attaches the hook, writes logs and dba_run.json, and checks that the hook is called. README.md: how to add one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ..anchor.config import AnchorConfig
from ..training.hooks import AnchorHook, Target


class Record(Protocol):
    """One line of dba_log.jsonl: a named tuple whose first field is ``step``, with numbers and truth values."""

    def _asdict(self) -> dict[str, Any]: ...


class Wiring(NamedTuple):
    """What a hook is connected to.

    ``targets``: the tensors to edit; ``total_steps``: optimizer steps of the whole run; ``current_step``: those made
    before the one at hand; ``on_step``: gets a record after every update; ``tolerate_overflow``: whether NaN and Inf
    are a gradient scaler's business (fp16); ``on_sums``: gets, before the update, the step, the targets that have a
    gradient, and ⟨g_D, ĝ_G⟩ and ‖g_D‖² of each.
    """

    targets: Sequence[Target]
    total_steps: int
    current_step: Callable[[], int]
    on_step: Callable[[Record], None]
    tolerate_overflow: Callable[[], bool]
    on_sums: Callable[[int, Sequence[Target], Sequence[Sequence[float]]], None]


class Method(NamedTuple):
    """One value of ``dba_variant``. ``arguments`` is the host's ``FinetuningArguments`` with the DBA fields.

    Attributes:
        metrics: names in the trainer's logs, and the record's field whose mean since the last log stands there.
        make_hook: (arguments, wiring) -> the hook; it keeps nothing from step to step that a resume would need.
        describe: (arguments, total_steps) -> a few words for the line at the start of the training.
        facts: (arguments, total_steps) -> settings for dba_run.json.
        warnings: (arguments, anchor's config, total_steps) -> what speaks against this run before its first step.
    """

    metrics: Mapping[str, str]
    make_hook: Callable[[Any, Wiring], AnchorHook]
    describe: Callable[[Any, int], str]
    facts: Callable[[Any, int], dict[str, Any]]
    warnings: Callable[[Any, AnchorConfig, int], Sequence[str]]
