"""The probe in a process of its own, which loads the model and gives its memory back. No gradio."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from llamafactory_dba.errors import DBAError

from .fields import DEFAULT
from .job_log import reason_of
from .jobs import without_secrets
from .locales import message
from .supervise import hide, secrets_of


PAPER = DEFAULT.dba_variant
POLL = 0.5  # seconds
COMMAND = (sys.executable, "-m", "llamafactory_dba.cli", "anchor", "probe")


class Progress(NamedTuple):
    """``seconds`` since the start; ``result``: the probe's JSON, at the end."""

    seconds: float
    result: dict[str, Any] | None = None


def run(arguments: Mapping[str, Any], batches: int) -> Iterator[Progress]:
    """Probe a training; closing the iterator ends the process.

    Args:
        arguments: of the training, as Start would use them.
        batches: optimizer steps to look at.

    Raises:
        DBAError: what the probe said is wrong.
    """
    with tempfile.TemporaryDirectory(prefix="dba-probe-") as scratch:
        recipe, out, log = Path(scratch, "recipe.yaml"), Path(scratch, "out"), Path(scratch, "log")
        recipe.write_text(yaml.safe_dump(without_secrets(arguments), allow_unicode=True), encoding="utf-8")
        with out.open("wb") as result, log.open("wb") as said:
            process = subprocess.Popen(
                [*COMMAND, str(recipe), "--batches", str(batches), "--json"],
                stdin=subprocess.DEVNULL,
                stdout=result,
                stderr=said,
                start_new_session=True,
            )
        started = time.monotonic()
        try:
            while process.poll() is None:
                yield Progress(time.monotonic() - started)
                time.sleep(POLL)
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)  # it writes nothing, so there is nothing to save
                process.wait()
        yield Progress(time.monotonic() - started, _read(process.returncode, out, log))


def _read(code: int, out: Path, log: Path) -> dict[str, Any]:
    said = log.read_text(encoding="utf-8", errors="replace")
    try:
        if code:
            raise ValueError
        result = json.loads(out.read_text(encoding="utf-8"))
    except ValueError:
        reason = hide(reason_of(said), secrets_of(dict(os.environ)))
        what = reason or f"The probe ended with code {code}."
        if code < 0:
            what = f"The probe was ended by signal {signal.Signals(-code).name}. {reason}".strip()
        raise DBAError(what) from None
    return dict(result)


def rows(result: Mapping[str, Any], lang: str | None, variant: str = PAPER) -> str:
    """What was found, as a Markdown table and sentences in the page's language.

    Args:
        result: the probe's JSON.
        lang: of the page.
        variant: of the training; those beside the paper's have no λ and no γ, which the advice is about.
    """
    settings, plan = result["settings"], result["plan"]
    table = [("similarity", _spread(result["similarity"], ".4f")), ("cosine", _spread(result["cosine"], "+.4f"))]
    if variant == PAPER:
        table += [
            ("correction", f"{_spread(result['correction'], '.3g')} (≤ {1 / settings['base_correction']:g})"),
            ("boost", f"{plan['initial_boost']:.3g}"),
        ]
    table.append(("steps", f"{settings['total_steps']} × {settings['global_batch']}"))
    if plan["rates"] is not None:
        table.append(("rate", _rates(plan["rates"])))
    if plan["corrected_rates"] is not None and settings["use_correction"] and variant == PAPER:
        table.append(("effective", _rates(plan["corrected_rates"])))
    lines = [f"| {message('dba_probe_what', lang)} | {message('dba_probe_value', lang)} |", "|---|---|"]
    lines += [f"| {message(f'dba_probe_{name}', lang)} | {value} |" for name, value in table]
    told = (*result["told"]["notes"], *result["told"]["advice"])
    said = [f"- {message('dba_probe_said_' + item['kind'], lang, **item['values'])}" for item in told]
    if variant != PAPER:
        said = [message("dba_probe_other", lang, variant=variant)]
    return "\n".join([message("dba_probe_done", lang, batches=len(result["batches"])), "", *lines, "", *said])


def _spread(spread: Mapping[str, float], form: str) -> str:
    return f"{spread['mean']:{form}} ± {spread['std']:{form.removeprefix('+')}}"


def _rates(rates: Mapping[str, float]) -> str:
    return f"{rates['start']:.3g} → ⌀ {rates['mean']:.3g}, max {rates['peak']:.3g}"
