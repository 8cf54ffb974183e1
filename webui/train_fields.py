"""The fields of the Train form, made before the host's Train tab so that its buttons read them, and not yet shown.

Labels come with the host's language switch, which runs when a page is loaded.
"""

from __future__ import annotations

from typing import Any

import gradio as gr

from llamafactory_dba.methods.registry import VARIANTS

from .fields import ALWAYS, AUTO, DEFAULTS, NEVER


def create_train_fields() -> dict[str, Any]:
    """Unrendered components by name, with the values of `fields.DEFAULTS`."""
    fields: dict[str, Any] = {}

    def add(kind: Any, name: str, **properties: Any) -> None:
        fields[name] = kind(value=DEFAULTS[name], render=False, elem_id=name, **properties)

    names = {"multiselect": True, "choices": [], "allow_custom_value": True}
    add(gr.Checkbox, "dba_train_enabled")
    add(gr.Dropdown, "dba_train_anchor", choices=[], allow_custom_value=True)
    add(gr.Checkbox, "dba_train_boost_on")
    add(gr.Number, "dba_train_boost")
    add(gr.Checkbox, "dba_train_correction")
    add(gr.Number, "dba_train_base", step=0.01)
    add(gr.Number, "dba_train_rank", step=1)
    add(gr.Dropdown, "dba_train_variant", choices=list(VARIANTS))
    add(gr.Number, "dba_train_strength", placeholder="–")
    add(gr.Number, "dba_train_every", step=1)
    add(gr.Dropdown, "dba_train_base_weights", choices=["device", "host", "none"])
    add(gr.Number, "dba_train_embedding_ratio", step=0.1)
    add(gr.Dropdown, "dba_train_general", **names)
    add(gr.Number, "dba_train_general_samples", placeholder="–", step=1)
    add(gr.Checkbox, "dba_train_added_tokens")
    add(gr.Dropdown, "dba_train_record", choices=[AUTO, ALWAYS, NEVER])
    add(gr.Number, "dba_train_gauge_steps", step=1)
    add(gr.Dropdown, "dba_train_gauge_data", **names)
    add(gr.Dropdown, "dba_train_gauge_domain", **names)
    add(gr.Number, "dba_train_gauge_samples", step=1)
    add(gr.Dropdown, "dba_train_gauge_score", choices=["exact", "token"])
    add(gr.Number, "dba_train_gauge_patience", step=1)
    add(gr.Checkbox, "dba_train_gauge_keep_best")
    add(gr.Checkbox, "dba_train_with_board")
    add(gr.Checkbox, "dba_train_beside")
    return fields
