"""`llamafactory-dba`: looks at anchors and at the installation. Training stays with `llamafactory-cli`."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from . import __version__, plugin
from .autoload import DISABLE_VARIABLE, is_disabled
from .errors import DBAError


if TYPE_CHECKING:
    from .anchor.format import AnchorConfig

Rows = list[tuple[str, str]]

PACKAGES = (
    "llamafactory",
    "transformers",
    "torch",
    "torchvision",
    "torchaudio",
    "accelerate",
    "datasets",
    "safetensors",
)
AUTOLOAD_VARIABLE = "TORCH_DEVICE_BACKEND_AUTOLOAD"  # torch's own switch for all extensions of its kind

app = typer.Typer(
    name="llamafactory-dba",
    help="Tools around Dynamic Boosted Annealing. To train, use llamafactory-cli with the dba_* arguments.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
anchor_app = typer.Typer(help="Look at anchors.", no_args_is_help=True)
app.add_typer(anchor_app, name="anchor")


@anchor_app.command()
def info(folder: Annotated[Path, typer.Argument(help="The anchor folder.")]) -> None:
    """Print what an anchor says about itself: base model, data, steps, rank, energy kept, cosine of the halves."""
    from .anchor.format import read_config  # late: imports torch

    _print(anchor_rows(read_config(folder)))


@app.command()
def env() -> None:
    """Print the versions that matter and whether the extension is active; add it to a bug report."""
    _print(environment_rows())


def main() -> None:
    """Entry point of the console script: an error that the user can mend is printed without a traceback."""
    try:
        app()
    except DBAError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from None


def anchor_rows(config: AnchorConfig) -> Rows:
    """The header of an anchor as rows of a table.

    Args:
        config: as `read_config` gives it.
    """
    base, data, totals = config.base_model, config.data, config.totals
    return [
        ("base model", base.id + (f" ({base.revision})" if base.revision else "")),
        ("architecture", f"{base.architecture}, {base.num_layers} layers, vocabulary {base.vocab_size}"),
        ("general data", ", ".join(data.datasets)),
        ("samples", f"{data.samples:,} ({data.tokens:,} tokens)"),
        ("stage", f"{config.stage}, template {config.template or '–'}"),
        ("steps", f"{config.steps:,} of {config.global_batch} samples"),
        ("rank", str(config.rank)),
        ("energy kept", f"{totals.energy_kept:.4f}" if totals else "–"),
        ("norm", f"{totals.norm:.4g}" if totals else "–"),
        ("half cosine", f"{config.half_cosine[-1][1]:.4f}" if config.half_cosine else "–"),
        ("tensors", f"{len(config.tensors)}, stored as {config.dtype}"),
        ("numbers", f"{totals.stored_numbers:,} of {totals.full_numbers:,}" if totals else "–"),
        ("licence", config.licence or "not stated"),
        ("created", config.created or "–"),
        ("made with", ", ".join(f"{name} {version}" for name, version in config.versions.items())),
    ]


def environment_rows() -> Rows:
    """Versions, and whether `llamafactory-cli` started from here would know DBA."""
    rows = [("llamafactory-dba", __version__), ("python", f"{platform.python_version()} ({sys.executable})")]
    rows += [(name, _version(name) or "not installed") for name in PACKAGES]
    oldest, below = (".".join(map(str, numbers)) for numbers in (plugin.HOST_OLDEST, plugin.HOST_BELOW))
    return [*rows, ("supported host", f"llamafactory >= {oldest}, < {below}"), ("extension", extension_state())]


def extension_state() -> str:
    """``active``, or why not and what to do about it."""
    if is_disabled():
        return f"off: {DISABLE_VARIABLE}={os.environ[DISABLE_VARIABLE]} is set; unset it"
    if os.environ.get(AUTOLOAD_VARIABLE, "1") != "1":
        return (
            f"off: {AUTOLOAD_VARIABLE}={os.environ[AUTOLOAD_VARIABLE]} keeps torch from loading extensions; unset it"
        )
    host = _version("llamafactory")
    if host is None:
        return "off: llamafactory is not installed in this environment"
    if not plugin.HOST_OLDEST <= _release(host) < plugin.HOST_BELOW:
        return f"off: llamafactory {host} is not supported; install one that is"
    try:
        import torch  # noqa: F401  this is what activates it
    except Exception as error:  # whatever is wrong with torch, the report must still be printed
        return f"off: importing torch fails: {type(error).__name__}: {error}"
    if any(type(finder).__module__ == plugin.__name__ for finder in sys.meta_path):
        return "active"
    return "off: torch did not find the entry point; install the package again"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _release(version: str) -> tuple[int, ...]:
    from packaging.version import Version

    return Version(version).release


def _print(rows: Rows) -> None:
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name:<{width}}  {value}")


if __name__ == "__main__":
    main()
