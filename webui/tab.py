"""The DBA tab: four panels, each of which may fail without taking the board with it."""

from __future__ import annotations

import importlib
from typing import Any

import gradio as gr
from gradio.context import Context
from llamafactory.extras import logging

from .board import Board
from .locales import message, properties
from .style import CSS


logger = logging.get_logger("llamafactory.dba")

# sub-tabs `dba_tab_<panel>`, filled by `create_<panel>_panel` of `<panel>_panel`
PANELS = ("anchor", "train", "results", "recipes")
SHOW = "() => ({visible: true, __type__: 'update'})"  # in the browser alone


def create_tab(board: Board, tab: gr.Tab) -> dict[str, Any]:
    """Fill the DBA tab; called inside its ``gr.Tab``.

    Args:
        board: see there.
        tab: the ``gr.Tab``.

    Returns:
        All elements by name, for the host's manager: its language switch reaches them by these names.
    """
    page = Context.root_block
    page.css = f"{page.css or ''}\n{CSS}"
    # nothing of it is put on the page before it is looked at: that would double what the page has to do at first
    with gr.Column(visible=False) as content, gr.Tabs(elem_id="dba_tabs"):
        for panel in PANELS:
            with gr.Tab(**properties(f"dba_tab_{panel}"), elem_id=f"dba_tab_{panel}") as sub_tab:
                board.elems[f"dba_tab_{panel}"] = sub_tab
                try:
                    module = importlib.import_module(f".{panel}_panel", __package__)
                    board.elems.update(getattr(module, f"create_{panel}_panel")(board))
                except Exception as error:  # one panel less is better than no board
                    logger.warning_rank0(f"DBA: {panel} of the web board: {type(error).__name__}: {error}")
                    gr.Markdown(message("dba_panel_failed", "en", error=f"{type(error).__name__}: {error}"))
    tab.select(None, None, content, js=SHOW)
    return board.elems
