"""`llamafactory-dba compare`: methods, domains and seeds of a suite, run, measured and put into one table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import DBAError


def compare(
    suite: Annotated[Path, typer.Argument(help="A suite file, such as examples/compare/micro.yaml.")],
    out: Annotated[Path | None, typer.Option(help="Folder of the runs. Default: runs/compare/NAME.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print plan, disk and time estimate; write nothing.")
    ] = False,
    only: Annotated[
        list[str] | None,
        typer.Option(help="Only runs with this in their name BASE/DOMAIN/METHOD/seedN (* and ? allowed); repeatable."),
    ] = None,
    jobs: Annotated[
        int | None, typer.Option(min=1, help="Runs at the same time. Default: one for each group of GPUs, or one.")
    ] = None,
    gpus: Annotated[str | None, typer.Option(help="Numbers of the GPUs to use, with commas: 0,1.")] = None,
    remove_stale: Annotated[
        bool, typer.Option("--remove-stale", help="Delete runs in --out that the suite (no longer) asks for.")
    ] = False,
    take: Annotated[
        list[Path] | None,
        typer.Option(
            help="A compare.json of another machine, or of an earlier folder: its finished runs of this suite are "
            "taken over instead of made again; repeatable."
        ),
    ] = None,
) -> None:
    """Run a suite of methods, domains and seeds, measure every run, and write one table and one page.

    Interrupted or killed, the same command goes on: what is done is not done again. docs/compare.md says how a suite
    is written.
    """
    numbers = None
    if gpus is not None:
        numbers = [part.strip() for part in gpus.split(",") if part.strip()]
        if not numbers or len(set(numbers)) < len(numbers):
            raise DBAError("The GPUs cannot be used.", expected="--gpus 0,1: each once", found=gpus)
    from ..compare.run import compare as run

    try:
        outcome = run(
            suite,
            out,
            dry_run=dry_run,
            only=only or (),
            jobs=jobs,
            gpus=numbers,
            remove_stale=remove_stale,
            take=take or (),
            say=_say,
        )
    except KeyboardInterrupt:
        typer.echo("stopped; the same command goes on with what is left", err=True)
        raise typer.Exit(130) from None
    if outcome.stopped:
        typer.echo(f"Error: stopped early: {outcome.stopped}", err=True)
    if outcome.failures or outcome.stopped:
        raise typer.Exit(1)


def _say(line: str) -> None:
    print(line, flush=True)
