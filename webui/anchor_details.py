"""One anchor, and the table of those on this machine, as HTML. No gradio."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache
from html import escape
from pathlib import Path

from llamafactory_dba.anchor.card import PICTURE
from llamafactory_dba.anchor.config import AnchorConfig

from .anchors import FoundAnchor, look_at
from .locales import message
from .markup import BAD, CELL, FAINT, GOOD, say, size_of
from .problems import say_all


PLAIN = "border:0"  # against gradio's borders around tables in prose


def details(folder: Path, lang: str | None) -> str:
    """An anchor: what its header says, the fingerprint among it, and its picture."""
    found = look_at(folder, None)
    if found.config is None:
        return f'<div style="color:{BAD}">✗ {say(found.key, lang, reason=found.reason)}</div>'
    rows = "".join(
        f'<tr style="{PLAIN}"><th scope="row" style="{CELL}">{say(key, lang)}</th>'
        f'<td style="{CELL};overflow-wrap:anywhere">{escape(value)}</td></tr>'
        for key, value in _rows(found, found.config).items()
        if value
    )
    table = f'<table style="border:0;border-collapse:collapse;font-size:13px">{rows}</table>'
    return f'{_picture(folder, lang)}<div style="overflow-x:auto">{table}</div>'


def _rows(found: FoundAnchor, config: AnchorConfig) -> dict[str, str]:
    totals, data = config.totals, config.data
    prints = config.fingerprint
    return {
        "dba_word_folder": found.folder,
        "dba_word_base_model": " ".join(filter(None, [config.base_model.id, config.base_model.revision])),
        "dba_word_architecture": f"{config.base_model.architecture}, {config.base_model.num_layers}"
        if config.base_model.architecture
        else "",
        "dba_word_fingerprint": f"{prints.total} ({len(prints.tensors)})" if prints.known else "–",
        "dba_word_data": ", ".join(data.datasets),
        "dba_word_samples": f"{data.samples:,}",
        "dba_word_tokens": f"{data.tokens:,}",
        "dba_word_stage": ", ".join(filter(None, [config.stage, config.template])),
        "dba_word_steps": f"{config.steps:,} × {config.global_batch}",
        "dba_word_rank": str(config.rank),
        "dba_word_energy": f"{totals.energy_kept:.4f}" if totals else "",
        "dba_word_norm": f"{totals.norm:.4g}" if totals else "",
        "dba_word_half_cosine": f"{found.half_cosine:.4f}" if found.half_cosine is not None else "–",
        "dba_word_stored": config.dtype,
        "dba_word_size": size_of(found.bytes),
        "dba_word_licence": config.licence,
        "dba_word_hub": found.hub_id,
        "dba_word_created": config.created,
    }


def _picture(folder: Path, lang: str | None) -> str:
    try:
        changed = (folder / PICTURE).stat().st_mtime_ns
        data = _encoded(str(folder / PICTURE), changed)
    except OSError:
        return ""
    label = escape(message("dba_anchor_picture", lang))
    return (
        f'<img src="data:image/png;base64,{data}" alt="{label}" title="{label}" style="max-width:100%;height:auto;'
        'background:#fff;border-radius:6px;margin-bottom:8px"/>'
    )


@lru_cache(maxsize=8)
def _encoded(path: str, changed: int) -> str:
    """In the page itself: a file would have to lie where gradio serves files from."""
    return base64.b64encode(Path(path).read_bytes()).decode()


def table(found: Sequence[FoundAnchor], lang: str | None) -> str:
    """The anchors, one per row; whether one fits is said by a sign, a colour and words."""
    if not found:
        return f'<div style="{FAINT}">{say("dba_anchor_no_anchors", lang)}</div>'
    columns = ("fit", "folder", "base_model", "samples", "rank", "half_cosine", "size", "created")
    head = "".join(
        f'<th scope="col" style="{CELL};white-space:nowrap">{say(f"dba_word_{name}", lang)}</th>' for name in columns
    )
    return (
        '<div style="overflow-x:auto;max-height:420px" tabindex="0"><table style="border:0;border-collapse:collapse;'
        f'font-size:13px;width:100%"><thead style="{PLAIN}"><tr style="{PLAIN}">{head}</tr></thead>'
        f'<tbody style="{PLAIN}">' + "".join(_row(item, lang) for item in found) + "</tbody></table></div>"
    )


def _row(item: FoundAnchor, lang: str | None) -> str:
    sign, colour = ("✓", GOOD) if item.fits else ("✗", BAD)
    if item.key == "dba_fit_no_model":
        sign, colour = "–", "inherit"
    where = item.folder if not item.hub_id else f"{item.hub_id} ({item.folder})"
    cells = [
        escape(where),
        escape(item.base_model),
        f"{item.samples:,}" if item.config else "",
        str(item.rank or ""),
        f"{item.half_cosine:.3f}" if item.half_cosine is not None else "",
        size_of(item.bytes) if item.bytes else "",
        escape(item.created[:16].replace("T", " ")),
    ]
    reason = say_all(item.differences, lang) or item.reason
    why = f'<span style="color:{colour};font-weight:600">{sign}</span> {say(item.key, lang, reason=reason)}'
    first = f'<td style="{CELL};min-width:180px;max-width:380px;overflow-wrap:anywhere">{why}</td>'
    return (
        '<tr style="border:0">'
        + first
        + "".join(f'<td style="{CELL};overflow-wrap:anywhere">{cell}</td>' for cell in cells)
        + "</tr>"
    )
