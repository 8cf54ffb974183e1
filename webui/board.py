"""What a panel of the DBA tab may know of the board that it stands in."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Board:
    """One LLaMA Board: the host's engine and the fields that join its Train tab.

    Attributes:
        engine: the host's ``Engine``; its ``manager`` and ``runner`` are the board's own.
        train_fields: components of the DBA tab that are inputs of the Train tab, by name; made with ``render=False``
            and rendered by `train_panel`.
        elems: everything the tab's panels have returned so far, by name.
        train_inputs: all inputs of the Train tab's Start button, ours among them.
        train_outputs: its outputs, all in the Train tab.
        last_output: folder of the last training that was started here; "" before there is one.
    """

    engine: Any
    train_fields: dict[str, Any] = field(default_factory=dict)
    elems: dict[str, Any] = field(default_factory=dict)
    train_inputs: set[Any] = field(default_factory=set)
    train_outputs: list[Any] = field(default_factory=list)
    last_output: str = ""

    @property
    def demo_mode(self) -> bool:
        """Whether the board is a public demonstration, where nothing may be started."""
        return bool(self.engine.demo_mode)

    def get(self, elem_id: str) -> Any:
        """The host's component, e.g. ``train.dataset_dir`` or ``dba.dba_enabled``."""
        return self.engine.manager.get_elem_by_id(elem_id)

    @property
    def lang(self) -> Any:
        """The language of the page: ``en``, ``ru``, ``zh``, ``ko`` or ``ja``."""
        return self.get("top.lang")

    @property
    def model_name(self) -> Any:
        """The model's name in the host's list, or ``Custom``."""
        return self.get("top.model_name")

    @property
    def model_path(self) -> Any:
        """Folder or hub id of the model."""
        return self.get("top.model_path")

    @property
    def template(self) -> Any:
        """Name of the chat template."""
        return self.get("top.template")

    @property
    def finetuning_type(self) -> Any:
        """``full``, ``freeze``, ``lora`` …"""
        return self.get("top.finetuning_type")

    @property
    def hub_name(self) -> Any:
        """The hub that models come from."""
        return self.get("top.hub_name")
