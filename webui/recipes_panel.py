"""The Recipes panel: the YAML of what is on the screen, and a recipe that is dropped in fills the form."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path
from typing import Any

import gradio as gr
from llamafactory.extras.constants import SUPPORTED_MODELS, TRAINING_STAGES, DownloadSource
from llamafactory.webui import common

from llamafactory_dba.errors import DBAError
from llamafactory_dba.files import write_file

from . import recipe
from .board import Board
from .fields import DEFAULTS
from .host_form import Filled, Known, fill
from .locales import message


FOLDER = Path(common.DEFAULT_CACHE_DIR) / "dba_recipes"  # what the page offers for download
KEPT = 20
FILE = "recipe.yaml"
SETTLE = 1.0  # seconds for what the page does by itself when model and stage change
# their change makes the host fill in other fields, so they come first
FIRST = ("top.model_name", "top.finetuning_type", "train.training_stage")
LEFT_ALONE = ("top.lang", "top.hub_name", "train.config_path", "train.output_dir", "top.model_name", "top.model_path")


def create_recipes_panel(board: Board) -> dict[str, Any]:
    """Build the panel inside its tab.

    Returns:
        Its elements by name.
    """
    elems: dict[str, Any] = {"dba_recipe_intro": gr.Markdown()}
    with gr.Row():
        with gr.Column(scale=3, min_width=300):
            elems["dba_recipe_yaml"] = gr.Code(language="yaml", interactive=False, lines=18, max_lines=40)
            with gr.Row():
                elems["dba_recipe_refresh"] = gr.Button(variant="primary")
                elems["dba_recipe_copy"] = gr.Button()
                elems["dba_recipe_download"] = gr.DownloadButton(interactive=False)
        with gr.Column(scale=2, min_width=300):
            elems["dba_recipe_file"] = gr.File(file_types=[".yaml", ".yml"], type="filepath", height=200)
    elems["dba_recipe_said"] = gr.Markdown(elem_id="dba_recipe_said")
    _bind_show(board, elems)
    _bind_fill(board, elems)
    return elems


def _bind_show(board: Board, elems: dict[str, Any]) -> None:
    runner = board.engine.runner

    def show_recipe(data: dict[Any, Any]) -> list[Any]:
        lang = data[board.lang]
        error = runner._initialize(data, True, True)
        if error and not runner.running:
            return [gr.skip(), gr.skip(), f"⚠️ {error}"]
        try:
            text = recipe.to_yaml(common._clean_cmd(runner._parse_train_args(data)), FILE)
            return [
                text,
                gr.DownloadButton(value=str(_offer(text)), interactive=True),
                message("dba_recipe_shown", lang),
            ]
        except (ValueError, TypeError) as found:  # a number in the host's form that is none
            return [gr.skip(), gr.skip(), f"⚠️ {found}"]
        except OSError as found:
            return [gr.skip(), gr.skip(), f"⚠️ {found.strerror or found}"]

    outputs = [elems["dba_recipe_yaml"], elems["dba_recipe_download"], elems["dba_recipe_said"]]
    elems["dba_recipe_refresh"].click(show_recipe, board.train_inputs, outputs, queue=False)
    board.elems["dba_tab_recipes"].select(
        show_recipe, board.train_inputs, outputs, queue=False, show_progress="hidden"
    )
    # without a secure page there is no clipboard for scripts; then the text is selected, and Ctrl+C copies it
    elems["dba_recipe_copy"].click(None, [elems["dba_recipe_yaml"]], js=COPY)


COPY = """(text) => {
  const area = document.createElement("textarea");
  area.value = text; area.style.position = "fixed"; area.style.opacity = "0";
  document.body.appendChild(area); area.select();
  const copied = document.execCommand("copy"); area.remove();
  if (!copied && navigator.clipboard) { navigator.clipboard.writeText(text); }
}"""


def _offer(text: str) -> Path:
    """The file of the download button; a folder per content, so that two pages do not exchange theirs."""
    path = FOLDER / hashlib.sha256(text.encode()).hexdigest()[:16] / FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, text)
    found = sorted(FOLDER.glob(f"*/{FILE}"), key=lambda item: item.stat().st_mtime, reverse=True)
    for old in found[KEPT:]:
        old.unlink(missing_ok=True)
        old.parent.rmdir()
    return path.absolute()


def _bind_fill(board: Board, elems: dict[str, Any]) -> None:
    places = {board.engine.manager.get_id_by_elem(elem): elem for elem in board.train_inputs}
    start = {name: elem.value for name, elem in places.items() if name not in LEFT_ALONE}
    plan = gr.State(value=None)
    said = elems["dba_recipe_said"]

    def read_recipe(path: str | None, lang: str, hub: str | None) -> dict[Any, Any]:
        """Set what makes the host fill in other fields, and say what the recipe holds."""
        try:
            filled = _fill(Path(path).read_text(encoding="utf-8") if path else "", places)
        except (DBAError, OSError, UnicodeDecodeError) as error:
            return {plan: None, said: message("dba_recipe_bad", lang, reason=str(error))}
        ours = {f"dba.{name}": value for name, value in {**DEFAULTS, **filled.form}.items()}
        values = {**start, **filled.host, **ours}
        if "top.model_path" in values:  # where the host looks it up for this name
            common.save_config(lang, hub, values["top.model_name"], values["top.model_path"])
        first = {places[name]: values[name] for name in FIRST if name in values}
        return {plan: values, said: _say(filled, lang), **first}

    def settle_recipe(values: dict[str, Any] | None) -> dict[Any, Any]:
        if values is None:
            return {said: gr.skip()}
        time.sleep(SETTLE)
        return {places[name]: value for name, value in values.items() if name in places and name not in FIRST}

    def verify_recipe(data: dict[Any, Any]) -> dict[Any, Any]:
        """What the host has changed meanwhile is set again."""
        values = data[plan]
        if values is None:
            return {said: gr.skip()}
        changed = {
            places[name]: value for name, value in values.items() if name in places and data[places[name]] != value
        }
        return {**changed, plan: None}

    inputs = list(places.values())
    elems["dba_recipe_file"].upload(
        read_recipe,
        [elems["dba_recipe_file"], board.lang, board.hub_name],
        [plan, said, *(places[name] for name in FIRST)],
        queue=False,
    ).then(settle_recipe, [plan], [said, *inputs], queue=False).then(lambda: time.sleep(SETTLE), queue=False).then(
        verify_recipe, {plan, *inputs}, [plan, said, *inputs], queue=False
    )


def _fill(text: str, places: dict[str, Any]) -> Filled:
    def fit(name: str, value: Any) -> Any:
        return fitted(places[name], value)

    models = {path: name for name, paths in SUPPORTED_MODELS.items() if (path := paths.get(DownloadSource.DEFAULT))}
    stages = {argument: name for name, argument in TRAINING_STAGES.items()}
    return fill(recipe.from_yaml(text), Known(stages, models, common.DEFAULT_SAVE_DIR), fit)


def fitted(elem: Any, value: Any) -> Any:
    """The value as a component holds it.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(elem, gr.Checkbox):
        if not isinstance(value, bool):
            raise ValueError(value)
        return value
    if isinstance(elem, gr.Slider):
        number = float(value)
        if isinstance(value, bool) or not elem.minimum <= number <= elem.maximum:
            raise ValueError(value)
        return int(number) if number.is_integer() else number
    if isinstance(elem, gr.Dropdown):
        if elem.multiselect:
            return value if isinstance(value, list) else str(value).split(",")
        known = [choice[1] for choice in elem.choices]
        if not elem.allow_custom_value and str(value) not in known:
            raise ValueError(value)
        return str(value)
    if isinstance(elem, gr.Textbox):
        if isinstance(value, dict | list | bool):
            raise ValueError(value)
        return str(value)
    raise ValueError(value)


def _say(filled: Filled, lang: str | None) -> str:
    lines = [message("dba_recipe_loaded", lang)]
    if filled.extra.get("dba_stage") == "anchor":
        lines.append(message("dba_recipe_anchor", lang))
    if filled.extra:
        lines.append(message("dba_recipe_extra", lang, names=", ".join(f"`{name}`" for name in filled.extra)))
    return "\n\n".join(lines)
