"""Where the DBA tab is sewn into LLaMA Board; `plugin` calls this while the host builds its page.

The host builds the Train tab, then the others, then the footer, and binds its language switch and its `resume` to all
elements that its manager knows by then. So:

- before the Train tab, our fields are made unrendered and count as the manager's base elements, which makes them
  inputs of Start, Preview, Save and Load (`train_tab`);
- before the footer, the tab "DBA" is opened behind the host's and everything in it goes to the manager (`footer`);
- this board's runner gets wrapped methods (`runner`); the class stays as it is.

If any of it fails, a warning says so and the stock board goes on without the tab.
"""

from __future__ import annotations

import gc
import traceback
from collections.abc import Callable
from typing import Any
from weakref import WeakKeyDictionary

import gradio as gr
from gradio.context import Context
from llamafactory.extras import logging
from llamafactory.webui import locales as host_locales

from .board import Board
from .locales import ALERTS, LOCALES
from .runner import adopt, join_runner
from .tab import create_tab
from .train_fields import create_train_fields


logger = logging.get_logger("llamafactory.dba")

_boards: WeakKeyDictionary[Any, Board] = WeakKeyDictionary()  # by the page that is being built


def train_tab(original: Callable[[Any], dict[str, Any]], engine: Any) -> dict[str, Any]:
    """The host's ``create_train_tab`` with our fields among its inputs.

    Args:
        original: the host's function.
        engine: the host's ``Engine``.

    Returns:
        The host's elements, unchanged.
    """
    try:
        board = Board(engine)
        board.train_fields = create_train_fields()
        host_locales.LOCALES.update(LOCALES)
        host_locales.ALERTS.update(ALERTS)
        join_runner(board)
    except Exception as error:
        _say_failed(error)
        return original(engine)
    # With the tab's objects the next full collection (half a second for all that torch and transformers have made)
    # falls into gradio's first request to itself, which must be answered within three seconds.
    gc.freeze()
    manager = engine.manager
    manager.add_elems("dba", board.train_fields)
    base_elems = manager.get_base_elems
    manager.get_base_elems = lambda: base_elems() | set(board.train_fields.values())
    try:
        elems = original(engine)
    finally:
        del manager.get_base_elems
    _boards[Context.root_block] = board
    return elems


def footer(original: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The host's ``create_footer`` with the tab "DBA" in front, which makes it the last of the host's tabs.

    Args:
        original: the host's function.

    Returns:
        The host's elements, unchanged.
    """
    board = _boards.pop(Context.root_block, None)
    if board is None:
        return original()
    with gr.Tab("DBA", elem_id="dba_tab") as tab:
        try:
            _find_train_events(board)
            create_tab(board, tab)
            adopt(board)
        except Exception as error:
            _say_failed(error)
        _render_the_rest(board)
    fields = set(board.train_fields)
    board.engine.manager.add_elems("dba", {name: elem for name, elem in board.elems.items() if name not in fields})
    return original()


def _find_train_events(board: Board) -> None:
    """The Train tab's own inputs and outputs, as bound to its Start button."""
    for function in Context.root_block.fns.values():
        if getattr(function.fn, "__name__", "") == "run_train":
            board.train_inputs, board.train_outputs = set(function.inputs), list(function.outputs)
            return
    raise LookupError("the host's Train tab has no event `run_train`")


def _render_the_rest(board: Board) -> None:
    """An input that is on no page breaks every event that reads it; hide what a failed panel left behind."""
    left = [elem for elem in board.train_fields.values() if not elem.is_rendered]
    if left:
        with gr.Column(visible=False):
            for elem in left:
                elem.render()


def _say_failed(error: Exception) -> None:
    logger.warning_rank0(
        f"DBA: the web board's DBA tab is not available: {type(error).__name__}: {error}. The rest of the board is "
        "not affected."
    )
    logger.debug(traceback.format_exc())
