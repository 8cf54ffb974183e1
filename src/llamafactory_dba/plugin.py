"""THE list of touch points with LLaMA-Factory. Everything that reaches into the host starts here.

``llamafactory.hparams.finetuning_args``
    ``FinetuningArguments`` becomes a subclass with the ``dba_*`` fields, so that YAML, command line, ``-h`` and the
    reporters take them. If the host renames the class, the keys are refused as unknown.
``llamafactory.hparams.parser``
    The parser's lists of classes hold the subclass (the module may have been imported before torch), and
    ``_parse_args`` names near matches for mistyped keys. If that changes, typos get the host's plain message.
``llamafactory.train.{pt,sft,rm,dpo,kto}.workflow``
    ``run_<stage>`` is wrapped: checks before the model loads, the anchor run, plots afterwards; keeps the host's
    arguments for the record of the run; the gauge's rows.
``llamafactory.train.{pt,sft,rm,dpo,kto}.trainer``
    ``create_optimizer`` and ``log`` of the trainer class are wrapped: attaches the step hooks, the gauge and the
    recorder of `dba_record`, and puts the metrics into console, trainer state and trackers.
``llamafactory.train.tuner``
    Names imported from the modules above are bound anew; they may hold unwrapped functions (import order).
``llamafactory.webui.components``
    ``create_train_tab`` and ``create_footer`` are wrapped: the fields of the tab "DBA" join the Train tab's inputs,
    and the tab stands behind the host's own (``webui/seam.py``). If that fails, a warning says so and the stock board
    goes on. In the board's process only, `webui/runner.py` wraps methods of the board's own ``Runner``
    (``_initialize``, ``_parse_train_args``, ``_build_config_dict``, ``load_args``, ``check_output_dir``,
    ``run_train``, ``monitor``, ``set_abort``), adds our texts to ``webui.locales.LOCALES`` and ``ALERTS``, makes
    ``webui.common._clean_cmd`` keep ``dba_*: false`` (the host drops every False, so that a switch which is on by
    default could not be switched off), gives ``webui.runner.Popen`` a child that outlives page and board where the
    recipe says ``use_dba``, and lets ``webui.runner.get_trainer_info`` pass over lines of a log that are no JSON.

Called, not changed (a host that renames them gives an ImportError in that command only): ``training/`` uses the
host's parser, data, template and trainers; ``host_model.py`` its loading of models and tokenizers, for all of us, in
an order of imports that leaves the host whole; ``data/show.py`` its converter and processors, to show rows as the
model gets them; ``data/self_general/`` its ``chat`` engines and templates; ``evaluation/prompting.py`` its templates;
``cli/probe.py`` its YAML reader.

If one of the ``train`` modules changes so that it cannot be wrapped, a warning says so when it is imported, and a run
with ``use_dba`` is refused by the arguments' own check (`unextended`), never silently trained without DBA.

How: torch's ``torch.backends`` entry point calls `install`, usually while the host is importing torch, so most host
modules are not imported yet. A finder on ``sys.meta_path`` patches each one right after its body ran. Modules that are
already complete are patched at once; modules that are in the middle of their import are patched when the next import
statement anywhere finds them finished. Every rebinding is by identity, never by position.

Nothing in site-packages is edited, and without ``use_dba``, ``dba_stage: anchor``, ``dba_gauge_steps`` and
``dba_record`` every wrapper only calls through.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any


HOST = "llamafactory"
HOST_OLDEST = (0, 9, 5)
HOST_BELOW = (0, 10)
STAGES = ("pt", "sft", "rm", "dpo", "kto")
TRAINER_CLASSES = {
    "pt": "CustomTrainer",
    "sft": "CustomSeq2SeqTrainer",
    "rm": "PairwiseTrainer",
    "dpo": "CustomDPOTrainer",
    "kto": "CustomKTOTrainer",
}
MARK = "__dba__"

_replaced: dict[int, tuple[Any, Any]] = {}  # id(old) -> (old, new); holds `old` so that its id stays taken
_pending: set[str] = set()
_failures: list[str] = []  # host modules that could not be extended


def host_version() -> str:
    """Version of the imported host, e.g. ``0.9.5``; read from the host itself because metadata scans are slow."""
    module = sys.modules.get("llamafactory.extras.env")
    return str(getattr(module, "VERSION", "unknown"))


def unsupported_host() -> str | None:
    """None when the host's version is one that this package was run with, else what is expected, for the error."""
    numbers: list[int] = []
    for part in host_version().split(".")[:3]:
        digits = "".join(c for c in part if c.isdigit())
        if not digits:
            break
        numbers.append(int(digits))
    if numbers and HOST_OLDEST <= tuple(numbers) and tuple(numbers[:2]) < HOST_BELOW:
        return None
    return f"llamafactory >= {'.'.join(map(str, HOST_OLDEST))}, < {'.'.join(map(str, HOST_BELOW))}"


def install() -> None:
    """Put the finder in place and patch whatever of the host is imported already. Idempotent."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name in _hooks():
        if name in sys.modules:
            _pending.add(name)
    _flush_pending()


def unextended() -> list[str]:
    """Imported host modules that lack their extension, for whatever reason; a DBA run must not start with any."""
    _flush_pending()
    missing = list(_failures)
    for stage in STAGES:
        run = f"run_{stage}"
        for name in (f"llamafactory.train.{stage}.workflow", "llamafactory.train.tuner"):
            module = sys.modules.get(name)
            if module is not None and not hasattr(getattr(module, run, None), MARK):
                missing.append(f"{name}.{run}")
        trainers = sys.modules.get(f"llamafactory.train.{stage}.trainer")
        if trainers is not None:
            trainer = getattr(trainers, TRAINER_CLASSES[stage], None)
            if not hasattr(getattr(trainer, "create_optimizer", None), MARK):
                missing.append(f"{trainers.__name__}.{TRAINER_CLASSES[stage]}.create_optimizer")
    return missing


# --- what is done to each host module -------------------------------------------------------------------------------


def _extend_arguments(module: ModuleType) -> None:
    from .arguments import extend

    _replace(module, "FinetuningArguments", extend(module.FinetuningArguments))


def _patch_parser(module: ModuleType) -> None:
    from .arguments import explain_unknown_keys

    _rebind(module)
    _replace(module, "_parse_args", explain_unknown_keys(module._parse_args))


def _wrap_workflow(stage: str) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        original = getattr(module, f"run_{stage}")

        def run(*args: Any, **kwargs: Any) -> Any:
            finetuning_args = kwargs["finetuning_args"] if "finetuning_args" in kwargs else args[3]
            target = original
            if getattr(finetuning_args, "dba_gauge_steps", 0):
                from .training.gauge.workflow import with_gauge

                target = with_gauge(stage, original, *args, **kwargs)
            with_dba = getattr(finetuning_args, "is_dba_run", False)
            if not with_dba and getattr(finetuning_args, "dba_anchor_path", None):
                from llamafactory.extras import logging

                logging.get_logger("llamafactory.dba").warning_rank0(
                    "DBA: `dba_anchor_path` is set but `use_dba` is not: this run trains without DBA."
                )
            if not with_dba and not getattr(finetuning_args, "writes_record", False):
                return target(*args, **kwargs)
            from .training.workflow import run_stage  # late: imports torch and the host

            return run_stage(stage, target, *args, **kwargs)

        _replace(module, f"run_{stage}", _mark(run, original))

    return patch


def _wrap_trainer(stage: str) -> Callable[[ModuleType], None]:
    def patch(module: ModuleType) -> None:
        trainer = getattr(module, TRAINER_CLASSES[stage])
        original_create, original_log = trainer.create_optimizer, trainer.log

        def create_optimizer(self: Any, *args: Any, **kwargs: Any) -> Any:
            optimizer = original_create(self, *args, **kwargs)
            if getattr(self.finetuning_args, "use_dba", False):
                from .training.callback import attach_to_trainer

                attach_to_trainer(self)
            if hasattr(self.finetuning_args, "_dba_gauge_plan"):
                from .training.gauge.callback import attach_gauge

                attach_gauge(self, self.finetuning_args._dba_gauge_plan)
            if getattr(self.finetuning_args, "writes_record", False):
                from .training.recorder import attach_recorder

                attach_recorder(self)  # last, so that it sees which checkpoints the others ask for
            return optimizer

        def log(self: Any, logs: dict[str, float], *args: Any, **kwargs: Any) -> Any:
            # A callback's on_log comes after the trackers were called and log_history was written.
            callback = getattr(self, "_dba_callback", None)
            if callback is not None and "loss" in logs:
                logs = {**logs, **callback.pop_metrics()}
            return original_log(self, logs, *args, **kwargs)

        if not hasattr(original_create, MARK):
            trainer.create_optimizer = _mark(create_optimizer, original_create)
            trainer.log = _mark(log, original_log)

    return patch


def _extend_board(module: ModuleType) -> None:
    create_train_tab, create_footer = module.create_train_tab, module.create_footer

    def train_tab(engine: Any) -> Any:
        from .webui.seam import train_tab as with_fields  # late: imports gradio

        return with_fields(create_train_tab, engine)

    def footer() -> Any:
        from .webui.seam import footer as with_tab

        return with_tab(create_footer)

    _replace(module, "create_train_tab", _mark(train_tab, create_train_tab))
    _replace(module, "create_footer", _mark(footer, create_footer))


def _hooks() -> dict[str, Callable[[ModuleType], None]]:
    hooks: dict[str, Callable[[ModuleType], None]] = {
        "llamafactory.hparams.finetuning_args": _extend_arguments,
        "llamafactory.hparams.parser": _patch_parser,
        "llamafactory.train.tuner": _rebind,
        "llamafactory.webui.components": _extend_board,
    }
    for stage in STAGES:
        hooks[f"llamafactory.train.{stage}.workflow"] = _wrap_workflow(stage)
        hooks[f"llamafactory.train.{stage}.trainer"] = _wrap_trainer(stage)
    return hooks


# --- machinery ------------------------------------------------------------------------------------------------------


def _mark(wrapper: Any, original: Any) -> Any:
    import functools

    wrapper = functools.wraps(original)(wrapper)
    setattr(wrapper, MARK, True)
    return wrapper


def _replace(module: ModuleType, name: str, new: Any) -> None:
    """Set ``module.name`` to `new` and rebind every other host module that already holds the old object."""
    old = getattr(module, name)
    if old is new or hasattr(old, MARK):
        return
    _replaced[id(old)] = (old, new)
    setattr(module, name, new)
    for other in _host_modules():
        _rebind(other)


def _rebind(module: ModuleType) -> None:
    """Swap objects that were replaced elsewhere, in the module's globals and in its lists of argument classes."""
    for name, value in list(vars(module).items()):
        if isinstance(value, list):
            value[:] = [_replaced[id(item)][1] if id(item) in _replaced else item for item in value]
        elif id(value) in _replaced:
            setattr(module, name, _replaced[id(value)][1])


def _host_modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        if module is not None and name.startswith(HOST + "."):
            yield module


def _patch(name: str, module: ModuleType) -> None:
    hook = _hooks()[name]
    if unsupported_host() is not None and hook is not _extend_arguments:
        return  # unknown host: the arguments are there to refuse DBA clearly, everything else stays untouched
    try:
        hook(module)
    except Exception as error:  # a changed host must go on working without us
        import warnings

        _failures.append(f"{name}: {type(error).__name__}: {error}")
        warnings.warn(
            f"llamafactory-dba could not extend {_failures[-1]} (llamafactory {host_version()}). DBA is not "
            "available; the rest of LLaMA-Factory is not affected.",
            stacklevel=2,
        )


def _flush_pending() -> None:
    """Patch modules whose import was under way when torch called us, as soon as their body has run."""
    for name in list(_pending):
        module = sys.modules.get(name)
        if module is None:
            _pending.discard(name)
        elif not getattr(getattr(module, "__spec__", None), "_initializing", False):
            _pending.discard(name)
            _patch(name, module)


class _Finder:
    """Lets the ordinary finders find a hooked module and runs its hook right after the module's body."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if _pending:
            _flush_pending()
        if not fullname.startswith(HOST + ".") or fullname not in _hooks():
            return None
        for finder in sys.meta_path:
            if finder is self or not hasattr(finder, "find_spec"):
                continue
            spec = finder.find_spec(fullname, path, target)
            if spec is not None:
                break
        else:
            return None
        loader = spec.loader
        if loader is None:
            return spec
        execute = loader.exec_module

        def exec_module(module: ModuleType) -> None:
            execute(module)
            _patch(fullname, module)

        loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec
