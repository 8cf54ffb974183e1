"""`llamafactory-dba frontier`: the models between a base model and a fine-tuned one, scored (WiSE-FT)."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import DBAError


MERGED = "merged"


def frontier(
    suites: Annotated[
        list[str], typer.Argument(metavar="SUITE[,SUITE|TASK]...", help="As for evaluate: domain and general suites.")
    ],
    model: Annotated[str, typer.Option(help="Folder or hub id of the fine-tuned model; with --adapter, of its base.")],
    base: Annotated[
        str | None, typer.Option(help="Folder or hub id of the base model. Default: as the run's record says.")
    ] = None,
    adapter: Annotated[
        str | None, typer.Option(help="Folder of a LoRA adapter; it is merged first (once, into --out).")
    ] = None,
    out: Annotated[Path, typer.Option(help="Folder for frontier.json and one folder per point.")] = Path("frontier"),
    alphas: Annotated[
        str, typer.Option(help="Points from 0 (base) to 1 (tuned), with commas.")
    ] = "0,0.1,0.2,0.3,0.4,0.5,0.6,0.7,0.8,0.9,1",
    data: Annotated[Path, typer.Option(help="Folder with dataset_info.json or raw files.")] = Path("data"),
    hub: Annotated[str, typer.Option(help="Where missing data is fetched: huggingface, modelscope, none.")] = (
        "huggingface"
    ),
    template: Annotated[str, typer.Option(help="As for evaluate.")] = "auto",
    limit: Annotated[int | None, typer.Option(help="Only so many questions of each task; for a first look.")] = None,
    batch_size: Annotated[str, typer.Option(help="A number, or auto: what fits.")] = "auto",
    device: Annotated[str | None, typer.Option(help="As for evaluate.")] = None,
    dtype: Annotated[str, typer.Option(help="As for evaluate.")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="Where answers are kept, as for evaluate.")] = None,
    keep_models: Annotated[
        bool, typer.Option("--keep-models", help="Keep every point's weights; each is as large as the model.")
    ] = False,
) -> None:
    """Score every mixture of base and tuned weights: what forgetting costs to undo when no method is used at all.

    Interrupted, the same command goes on with the next point; with other --alphas it adds points.
    """
    points = _numbers(alphas)
    from .evaluate import check_request, quieten

    check_request(hub, limit)
    quieten()
    from ..evaluation.cache import default_folder
    from ..evaluation.frontier import point_name, sweep, table
    from ..evaluation.interpolate import merge_adapter
    from ..evaluation.measure import ModelSpec, check_spec
    from ..evaluation.model_hash import find_files, hash_model
    from ..evaluation.questions import Place
    from ..evaluation.results import Results
    from ..evaluation.run import evaluate
    from ..evaluation.selection import choose
    from ..training.record import read_record

    names = [part for text in suites for part in text.split(",")]
    where: Any = None if hub == "none" else hub
    memory = cache or default_folder()
    spec = ModelSpec(model, template=template, dtype=dtype, device=device, batch_size=batch_size)
    check_spec(spec)
    chosen = choose(names)
    tuned = find_files(model, adapter)
    record = read_record(tuned.run_folder)
    named = base or (model if adapter else record.base_model if record is not None else None)
    if not named:
        raise DBAError(
            "It is not known which base model this one was fine-tuned from.",
            expected="--base FOLDER, or a run_record.json beside the weights",
            found=model,
        )
    before = find_files(named)
    request = {
        "base": hash_model(before, memory),
        "tuned": hash_model(tuned, memory),
        "tasks": {f"{item.suite}/{item.task.name}": item.task.version for item in chosen},
        "template": template,
        "dtype": dtype,
        "limit": limit,
    }
    folder = tuned.folder
    if adapter:
        folder = out / MERGED
        if not (folder / "config.json").is_file():
            merge_adapter(before.folder, Path(tuned.run_folder), folder)

    def score(place: Path, alpha: float) -> Results:
        typer.echo(f"alpha {alpha:g}", err=True)
        return evaluate(
            names,
            ModelSpec(str(place), template=template, dtype=dtype, device=device, batch_size=batch_size),
            place=Place(data, where),
            out=out / point_name(alpha),
            base="none",
            cache=memory,
            limit=limit,
            say=lambda line: typer.echo(f"  {line}", err=True),
        ).results

    found = sweep(before.folder, folder, out, score, alphas=points, request=request, keep_models=keep_models)
    if adapter and not keep_models:
        shutil.rmtree(folder, ignore_errors=True)
    typer.echo("\n" + "\n".join(table(found)))
    if found.best is not None:
        typer.echo(
            f"\nBest S at alpha {found.best.alpha:g}. It was chosen on these very tasks, so it flatters: choose alpha "
            "on a validation split before you report it."
        )
    typer.echo(f"{out / 'frontier.json'}; a page of it: llamafactory-dba report {out}")


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",") if part.strip()]
    except ValueError:
        raise DBAError("A point is no number.", expected="--alphas 0,0.5,1", found=text) from None
