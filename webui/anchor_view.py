"""What the Anchor panel shows of a run, as HTML: progress, curve, error; and of a download. No gradio.

Every text from a file or a form is escaped. Heights are fixed where something changes while a run goes on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from pathlib import Path

from llamafactory_dba.anchor.estimate import PROGRESS_FILE, PartialState

from . import jobs
from .anchor_form import partial_folder
from .anchors import look_at
from .curves import figure
from .follow import Points, follow
from .jobs import Job
from .locales import message
from .markup import BAD, FAINT, GOOD, PRE, clock, say


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes:
        step: 0 before the first is reported.
        steps: of the whole pass.
        seconds: of the pass, with the runs before an interruption.
        tokens: read so far.
        rate: tokens per second.
        remaining: seconds at the pace so far; None before there is one.
        cosine: between the data halves, the last one measured.
        points: of the convergence curve.
    """

    step: int = 0
    steps: int = 0
    seconds: float = 0.0
    tokens: int = 0
    rate: float = 0.0
    remaining: float | None = None
    cosine: float | None = None
    points: Points | None = None


def progress_of(folder: Path) -> Progress:
    """How far the run that makes this anchor is, from the log beside it; of a finished one from its header."""
    log = follow(partial_folder(folder) / PROGRESS_FILE, ["half_cosine"])
    points, last = log.poll()["half_cosine"], log.last
    if not last:
        config = look_at(folder, None).config
        if config is None:
            return Progress()
        points = [(float(step), cosine) for step, cosine in config.half_cosine]
        cosine = points[-1][1] if points else None
        return Progress(config.steps, config.steps, tokens=config.data.tokens, cosine=cosine, points=points)
    step, steps, seconds = int(last.get("step", 0)), int(last.get("steps", 0)), last.get("seconds", 0.0)
    return Progress(
        step,
        steps,
        seconds,
        int(last.get("tokens", 0)),
        last.get("tokens_per_second", 0.0),
        seconds / step * (steps - step) if step else None,
        points[-1][1] if points else None,
        points,
    )


def resumable_step(folder: Path) -> int | None:
    """Whether an interrupted run can go on: the last step that its log has, 0 if it has none; None if it cannot."""
    if not PartialState(partial_folder(folder)).exists():
        return None
    return progress_of(folder).step


def status(job: Job | None, folder: Path | None, lang: str | None) -> str:
    """How a run is: state, bar, numbers, and for one that failed its error."""
    if job is None or folder is None:
        return f'<div style="{FAINT};min-height:132px">{say("dba_anchor_idle", lang)}</div>'
    now = progress_of(folder)
    parts = [
        f"<div><b>{escape(str(job.facts.get('output', folder.name)))}</b> "
        f'<span role="status">{_state(job, now, lang)}</span></div>'
    ]
    if now.steps:
        share = now.step / now.steps
        text = message("dba_anchor_step", lang, step=f"{now.step:,}", steps=f"{now.steps:,}")
        parts.append(
            f'<progress max="{now.steps}" value="{now.step}" aria-label="{escape(text)}" '
            f'style="width:100%;height:14px;accent-color:var(--color-accent)"></progress><div>{escape(text)} '
            f"({share:.0%})</div>"
        )
    facts = _facts(job, now, lang)
    if facts:
        parts.append(f'<div style="display:flex;flex-wrap:wrap;gap:4px 24px">{facts}</div>')
    if job.state == "failed" and job.reason:
        parts.append(f'<pre style="{PRE}">{escape(job.reason)}</pre>')
    return f'<div style="min-height:132px">{"".join(parts)}</div>'


def _state(job: Job, now: Progress, lang: str | None) -> str:
    texts = [say(job.message, lang, code=job.code)]
    if job.state == "running" and job.message == "dba_job_running":
        if not now.steps:
            texts = [say("dba_anchor_preparing", lang)]
        elif now.step >= now.steps:
            texts = [say("dba_anchor_writing", lang)]
    elif job.state in ("stopped", "failed"):
        step = resumable_step(Path(str(job.facts.get("folder", ""))))
        key = "dba_anchor_not_resumable" if step is None else "dba_anchor_resumable"
        texts.append(say(key if step != 0 else "dba_anchor_resumable_some", lang, step=step))
    return " ".join(texts)


def _facts(job: Job, now: Progress, lang: str | None) -> str:
    facts: list[tuple[str, str]] = []
    if now.rate:
        facts.append(("dba_word_rate", f"{now.rate:,.0f}"))
    if job.state == "running" and now.remaining is not None:
        facts.append(("dba_word_remaining", clock(now.remaining)))
    if now.seconds:
        facts.append(("dba_word_elapsed", clock(now.seconds)))
    if now.tokens:
        facts.append(("dba_word_tokens", f"{now.tokens:,}"))
    if now.cosine is not None:
        facts.append(("dba_word_half_cosine", f"{now.cosine:.4f}"))
    number = "font-variant-numeric:tabular-nums"
    return "".join(
        f'<span><b style="{number}">{value}</b> <span style="{FAINT}">{say(key, lang)}</span></span>'
        for key, value in facts
    )


def curve(folder: Path | None, lang: str | None) -> str:
    """The cosine between the data halves over the steps; of the same height with and without points."""
    points = (progress_of(folder).points if folder is not None else None) or []
    return figure(
        {message("dba_word_half_cosine", lang): points},
        title=message("dba_anchor_curve_title", lang),
        x_label=message("dba_anchor_curve_step", lang),
        y_label="",
        y_range=(0.0, 1.0),
        empty=message("dba_anchor_curve_empty", lang),
    )


def output(job: Job | None) -> str:
    """The last of what the run printed."""
    return jobs.log(job.folder, 6000) if job is not None else ""


def pull_status(job: Job | None, lang: str | None) -> str:
    """How the last download is."""
    if job is None:
        return ""
    fields: Mapping[str, object] = {"name": job.facts.get("name", ""), "path": job.facts.get("output", "")}
    if job.state == "running":
        return f"<div>{say('dba_pull_running', lang, **fields)}</div>"
    if job.state == "done":
        return f'<div><span style="color:{GOOD}">✓</span> {say("dba_pull_done", lang, **fields)}</div>'
    reason = f'<pre style="{PRE}">{escape(job.reason)}</pre>' if job.reason else ""
    return f'<div><span style="color:{BAD}">✗</span> {say(job.message, lang, code=job.code)}{reason}</div>'
