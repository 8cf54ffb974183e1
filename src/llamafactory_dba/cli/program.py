"""`llamafactory-dba`: looks at anchors and at the installation. Training stays with `llamafactory-cli`."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

import typer

from .. import __version__, plugin
from ..autoload import DISABLE_VARIABLE, is_disabled
from ..errors import DBAError
from .anchor import anchor_app
from .checks import check, contamination, show
from .compare import compare
from .corpora import list_, prepare
from .data import data_app
from .evaluate import evaluate
from .frontier import frontier
from .hub import card, pull, push
from .mixtures import mix
from .newsqa import newsqa
from .probe import probe
from .report import report
from .tables import Rows, print_rows


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
for command in (probe, push, pull, card):
    anchor_app.command()(command)
data_app.command()(newsqa)
data_app.command()(mix)
for corpora_command in (prepare, show, check, contamination):
    data_app.command()(corpora_command)
data_app.command("list")(list_)
app.add_typer(anchor_app, name="anchor")
app.add_typer(data_app, name="data")


app.command()(compare)
app.command()(evaluate)
app.command()(frontier)
app.command()(report)


@app.command()
def env() -> None:
    """Print the versions that matter and whether the extension is active; add it to a bug report."""
    print_rows(environment_rows())


def main() -> None:
    """Entry point of the console script: an error that the user can mend is printed without a traceback."""
    try:
        app()
    except DBAError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from None


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
