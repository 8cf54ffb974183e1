"""`llamafactory-dba evaluate`: what a model can do, and what it lost and gained against its base model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DBAError
from .tables import print_rows, print_table


if TYPE_CHECKING:  # torch and lm_eval are imported by the command itself, so that --help is quick
    from ..evaluation.run import Outcome
    from ..evaluation.summary import TaskChange

EXAMPLES = 3  # of answers that could not be read, per task


def evaluate(
    suites: Annotated[
        list[str] | None,
        typer.Argument(metavar="SUITE[,SUITE|TASK]...", help="Suites, tasks or YAML files of your own; see --list."),
    ] = None,
    model: Annotated[str | None, typer.Option(help="Folder or hub id of the model.")] = None,
    adapter: Annotated[str | None, typer.Option(help="Folder or hub id of a LoRA adapter on it.")] = None,
    base: Annotated[
        str | None,
        typer.Option(
            help="The base model to compare with: folder, hub id or its results.json; none: without. Default: what "
            "the run's record names; with --adapter, the model."
        ),
    ] = None,
    data: Annotated[Path, typer.Option(help="Folder with dataset_info.json or raw files.")] = Path("data"),
    hub: Annotated[str, typer.Option(help="Where missing data is fetched: huggingface, modelscope, none.")] = (
        "huggingface"
    ),
    out: Annotated[Path | None, typer.Option(help="Folder for results.json. Default: the run's own.")] = None,
    template: Annotated[
        str, typer.Option(help="auto: the tokenizer's; LLaMA-Factory's name, as in training; none: plain text.")
    ] = "auto",
    thinking: Annotated[bool, typer.Option("--thinking", help="Let the model think before it answers.")] = False,
    limit: Annotated[int | None, typer.Option(help="Only so many questions of each task; for a first look.")] = None,
    batch_size: Annotated[str, typer.Option(help="A number, or auto: what fits.")] = "auto",
    device: Annotated[str | None, typer.Option(help="cpu, cuda, cuda:1, … Default: a GPU if there is one.")] = None,
    dtype: Annotated[
        str, typer.Option(help="auto: float32 on a CPU, else as saved; float32, bfloat16, float16.")
    ] = "auto",
    backend: Annotated[str, typer.Option(help="hf, or vllm where it is installed.")] = "hf",
    cache: Annotated[
        Path | None, typer.Option(help="Where answers are kept. Default: llamafactory-dba in the user's cache folder.")
    ] = None,
    no_cache: Annotated[
        bool, typer.Option("--no-cache", help="Keep nothing; an interrupted run starts anew.")
    ] = False,
    save_answers: Annotated[
        bool, typer.Option("--save-answers", help="Write all answers beside results.json, into answers/.")
    ] = False,
    name: Annotated[str | None, typer.Option(help="Of the run, for tables. Default: its folder's.")] = None,
    method: Annotated[str | None, typer.Option(help="Such as dba. Default: as the run's record says.")] = None,
    domain: Annotated[
        str | None, typer.Option(help="That it was trained on. Default: the domain suite's name.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Of the training. Default: as the run's record says.")] = None,
    trust_remote_code: Annotated[
        bool, typer.Option("--trust-remote-code", help="Run code that comes with the model.")
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Print suites and tasks, and stop.")] = False,
) -> None:
    """Measure a model on tasks, beside its base model: what it learned, and what it kept.

    Interrupted, the same command goes on with the next task. docs/evaluation.md says what is measured, and how.
    """
    if list_:
        _print_known()
        return
    if not suites or model is None:
        raise DBAError(
            "It is not said what is to be measured.",
            expected="llamafactory-dba evaluate SUITE --model FOLDER",
            found="no suite" if not suites else "no --model",
            next_step="llamafactory-dba evaluate --list shows the suites",
        )
    check_request(hub, limit)
    quieten()
    from ..evaluation.cache import default_folder
    from ..evaluation.measure import ModelSpec
    from ..evaluation.questions import Place
    from ..evaluation.run import evaluate as run
    from ..evaluation.run import save_answers as save
    from ..evaluation.run_results import About

    where: Any = None if hub == "none" else hub
    try:
        outcome = run(
            [part for text in suites for part in text.split(",")],
            ModelSpec(model, adapter, template, thinking, dtype, device, batch_size, backend, trust_remote_code),
            place=Place(data, where),
            out=out,
            base=base,
            cache=None if no_cache else cache or default_folder(),
            limit=limit,
            about=About(name, method, domain, seed),
            say=lambda line: typer.echo(line, err=True),
        )
    except KeyboardInterrupt:
        kept = "" if no_cache else " Finished tasks are kept; the same command goes on with the next one."
        typer.echo(f"\nInterrupted.{kept}", err=True)
        raise typer.Exit(130) from None
    print_outcome(outcome)
    if save_answers:
        folder = outcome.path.parent / "answers"
        typer.echo(f"{len(save(outcome.measurement, folder))} files of answers: {folder}")


def check_request(hub: str, limit: int | None) -> None:
    """Refuse values that no command knows.

    Raises:
        DBAError: there is no such hub, or no question is asked for.
    """
    if hub not in ("huggingface", "modelscope", "none"):
        raise DBAError("There is no such hub.", expected="--hub huggingface, modelscope or none", found=hub)
    if limit is not None and limit < 1:
        raise DBAError("No questions are asked for.", expected="--limit 1 or more", found=limit)


def quieten() -> None:
    """Keep the libraries' chatter off the screen, by their own switches: a user's setting goes before it."""
    for variable, value in (
        ("TRANSFORMERS_VERBOSITY", "error"),
        ("LLAMAFACTORY_VERBOSITY", "ERROR"),
        ("HF_HUB_DISABLE_PROGRESS_BARS", "1"),
        ("TOKENIZERS_PARALLELISM", "false"),
    ):
        os.environ.setdefault(variable, value)


def print_outcome(outcome: Outcome) -> None:
    """Scores, what they come to, what to know of them, and answers that could not be read."""
    from ..evaluation.measure import unparsed_examples

    header = ("task", "metric", "value", "95 % interval", "n", "unparsed", "truncated", "Δ", "p")
    typer.echo("")
    print_table(header, [_row(change) for change in outcome.summary.tasks])
    summary = outcome.summary
    parts = [
        f"{label} = {value:.2f}{'' if delta is None else f' ({delta:+.2f})'}"
        for label, value, delta in (
            ("S_D", summary.s_d, summary.delta_s_d),
            ("S_G", summary.s_g, summary.delta_s_g),
            ("S", summary.s, summary.delta_s),
        )
        if value is not None
    ]
    if summary.kept is not None and outcome.base is not None:
        parts.append(f"kept {summary.kept:.1f} % of the base model's S_G")
    typer.echo("\n" + ", ".join(parts) if parts else "")
    if outcome.measurement.limit is not None:
        typer.echo(f"Only {outcome.measurement.limit} questions of each task: not to be compared with full results.")
    for note in outcome.notes:
        typer.echo(f"Note: {note}")
    for done in outcome.measurement.done:
        examples = unparsed_examples(done, EXAMPLES)
        if examples:
            main = done.measured[0]
            typer.echo(f"\n{done.asked.task.name}: {main.unparsed} of {main.n} answers could not be read, such as")
            for prompt, answer in examples:
                typer.echo(f"  {_short(prompt)} -> {_short(answer) or '(empty)'}")
    places = [str(path) for path in (outcome.path, outcome.base_path) if path is not None]
    typer.echo(f"\n{', '.join(places)}; a page of it: llamafactory-dba report {outcome.path.parent}")


def _row(change: TaskChange) -> tuple[str, ...]:
    task = change.score
    interval = "" if task.interval is None else f"{task.interval.low:.1f} – {task.interval.high:.1f}"
    return (
        task.task,
        task.metric,
        f"{task.value:.2f}",
        interval,
        str(task.n),
        str(task.unparsed),
        str(task.truncated),
        "" if change.delta is None else f"{change.delta:+.2f}",
        "" if change.test is None else f"{change.test.p:.3f}" if change.test.p >= 0.001 else "< 0.001",
    )


def _short(text: str, length: int = 90) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= length else f"…{line[-length:]}") if line else ""


def _print_known() -> None:
    from ..evaluation.definitions import built_in

    known = built_in()
    print_rows([(name, f"{suite.title}: {', '.join(suite.tasks)}") for name, suite in known.suites.items()])
    typer.echo("")
    print_rows([(name, f"{task.title} ({task.metric}, version {task.version})") for name, task in known.tasks.items()])
