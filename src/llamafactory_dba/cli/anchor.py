"""`llamafactory-dba anchor …`: looks at anchors, checks them and makes new ones from them; `hub` shares them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DBAError
from .tables import Rows, print_rows, print_table


if TYPE_CHECKING:  # torch is imported by the commands that need it, so that --help is quick
    from ..anchor.format import AnchorConfig

SHOWN = 8  # tensors that lost most
ROUNDING = 1e-5  # an added error below this is that of fp32 arithmetic

ANCHOR_HELP = "The anchor: a folder, or its hub id (owner/name or owner/name@revision)."
Anchor = Annotated[str, typer.Argument(metavar="ANCHOR", help=ANCHOR_HELP)]
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder of the new anchor.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace an anchor that is there already.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Tensors = Annotated[bool, typer.Option("--tensors", help="Print a row for every tensor, too.")]

anchor_app = typer.Typer(help="Look at anchors, check, merge and compare them.", no_args_is_help=True)


@anchor_app.command()
def info(
    anchor: Anchor,
    as_json: Json = False,
    plot: Annotated[Path | None, typer.Option(help="Write a picture here, too (png, svg or pdf).")] = None,
) -> None:
    """Print what an anchor says about itself: base model, data, convergence, norm and energy per kind and layer."""
    from ..anchor.format import read_config
    from ..anchor.hub import resolve_anchor
    from ..anchor.inspect import groups, kind_of, layer_of
    from ..anchor.origin import read_origin

    folder = resolve_anchor(anchor)
    config, origin = read_config(folder), read_origin(folder)
    if plot is not None:
        from ..anchor.plot import save_plot

        save_plot(config, plot)
    kinds, layers = groups(config, kind_of), groups(config, layer_of)
    if as_json:
        header = {**json.loads(config.to_json()), "fingerprint": config.fingerprint.total}
        header["on_hub"] = origin._asdict() if origin else None
        tables = {"kinds": kinds, "layers": layers}
        typer.echo(json.dumps({**header, **{key: [dataclasses.asdict(g) for g in t] for key, t in tables.items()}}))
        return
    print_rows([*anchor_rows(config), *([("on the hub", str(origin))] if origin else [])])
    for title, table in (("kind", kinds), ("layer", layers)):
        typer.echo("")
        rows = [(g.label, str(g.tensors), f"{g.norm:.4g}", f"{g.share:.2%}", f"{g.energy_kept:.4f}") for g in table]
        print_table((title, "tensors", "norm", "share", "energy kept"), rows)
    if plot is not None:
        typer.echo(f"\npicture: {plot}")


@anchor_app.command()
def verify(
    anchor: Anchor,
    model: Annotated[str, typer.Argument(help="Folder of the base model, or its id in the hub cache.")],
    allow_added_tokens: Annotated[
        bool, typer.Option("--allow-added-tokens", help="The model may have tokens more than the anchor's.")
    ] = False,
) -> None:
    """Check every tensor of an anchor, and that it was made from this model; exit status 1 if anything is wrong."""
    from ..anchor.hub import resolve_anchor
    from ..anchor.verify import verify as run

    result = run(resolve_anchor(anchor), model, allow_added=allow_added_tokens)
    typer.echo(f"{result.tensors} tensors are sound ({result.bytes / 1e6:.1f} MB)")
    for note in result.notes:
        typer.echo(f"Note: {note}.")
    for problem in result.problems:
        typer.echo(f"Wrong: {problem.what}.\n  next step: {problem.next_step}")
    if result.problems:
        typer.echo(f"{anchor} is not an anchor to use with {model}.")
        raise typer.Exit(1)
    typer.echo(f"{anchor} is sound and belongs to {model}.")


@anchor_app.command()
def merge(
    anchors: Annotated[
        list[str],
        typer.Argument(metavar="ANCHORS...", help="Two or more of one base model: folders, or hub ids owner/name."),
    ],
    out: Out,
    weights: Annotated[
        str | None,
        typer.Option(help="One number per anchor, as 2,1,1; or 'samples': by the samples averaged. Default: equal."),
    ] = None,
    rank: Annotated[int | None, typer.Option(help="Of the result. Default: the highest of the inputs.")] = None,
    overwrite: Overwrite = False,
    tensors: Tensors = False,
) -> None:
    """Write the weighted mean of anchors of one base model; nothing is cut off where the ranks add up to --rank."""
    from ..anchor.card import write_card
    from ..anchor.hub import resolve_anchor
    from ..anchor.merge import by_samples
    from ..anchor.merge import merge as run

    folders = [resolve_anchor(anchor) for anchor in anchors]
    shares = by_samples(folders) if weights == "samples" else _numbers(weights)
    result = run(folders, out, weights=shares, rank=rank, overwrite=overwrite)
    write_card(out)
    for note in result.notes:
        typer.echo(f"Note: {note}.")
    for source in result.config.sources:
        typer.echo(f"{source.weight:8.2%}  {source.name}: {source.data.samples:,} samples, rank {source.rank}")
    _print_result(result.config, out, tensors)


@anchor_app.command()
def truncate(
    anchor: Anchor,
    out: Out,
    rank: Annotated[
        int | None, typer.Option(help="Of the result, below that of the anchor. Default: as it is.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of the stored numbers: float32, bfloat16 or int8. Default: as they are.")
    ] = None,
    overwrite: Overwrite = False,
    tensors: Tensors = False,
) -> None:
    """Write an anchor again with a lower rank, or with its numbers in 8 bits, or both."""
    from ..anchor.card import write_card
    from ..anchor.config import weight_bytes
    from ..anchor.hub import resolve_anchor
    from ..anchor.lower import lower_rank

    folder = resolve_anchor(anchor)
    before = weight_bytes(folder)
    config = lower_rank(folder, rank, out, dtype=dtype, overwrite=overwrite)
    write_card(out)
    _print_result(config, out, tensors)
    after = weight_bytes(out)
    typer.echo(f"{before / 1e6:,.1f} MB before, {after / 1e6:,.1f} MB now ({after / before:.0%})")


@anchor_app.command()
def compare(
    first: Anchor,
    second: Annotated[str, typer.Argument(metavar="ANCHOR", help="Another one, in either form.")],
    as_json: Json = False,
    tensors: Tensors = False,
) -> None:
    """Print the cosine between two anchors, in total, per kind of matrix and per layer."""
    from ..anchor.hub import resolve_anchor
    from ..anchor.inspect import compare_anchors, kind_of, layer_of

    result = compare_anchors(resolve_anchor(first), resolve_anchor(second))
    tables = {"kind": result.by(kind_of), "layer": result.by(layer_of)}
    if tensors or as_json:
        tables["tensor"] = result.tensors
    if as_json:
        out: dict[str, Any] = {
            key: {label: {"cosine": s.cosine, "norms": [s.first**0.5, s.second**0.5]} for label, s in table.items()}
            for key, table in {**tables, "total": {"": result.total}}.items()
        }
        lists = {"only_first": result.only_first, "only_second": result.only_second, "notes": result.notes}
        typer.echo(json.dumps({**out, "total": out["total"][""], **lists}))
        return
    for title, table in tables.items():
        rows = [(key, _number(s.cosine), f"{s.first**0.5:.4g}", f"{s.second**0.5:.4g}") for key, s in table.items()]
        print_table((title, "cosine", "first norm", "second norm"), rows)
        typer.echo("")
    for label, names in (("first", result.only_first), ("second", result.only_second)):
        if names:
            typer.echo(f"Note: {len(names)} tensors are in the {label} anchor only, such as {names[0]}.")
    for note in result.notes:
        typer.echo(f"Note: {note}.")
    typer.echo(f"cosine in total: {_number(result.total.cosine)}")


def anchor_rows(config: AnchorConfig) -> Rows:
    """The header of an anchor as rows of a table.

    Args:
        config: as `read_config` gives it.
    """
    base, data, totals = config.base_model, config.data, config.totals
    rows = [
        ("base model", base.id + (f" ({base.revision})" if base.revision else "")),
        ("architecture", f"{base.architecture}, {base.num_layers} layers, vocabulary {base.vocab_size}"),
        ("general data", ", ".join(data.datasets)),
        ("samples", f"{data.samples:,} ({data.tokens:,} tokens)"),
        ("stage", f"{config.stage}, template {config.template or '–'}"),
        ("steps", f"{config.steps:,} of {config.global_batch} samples"),
        ("rank", str(config.rank)),
        ("energy kept", f"{totals.energy_kept:.4f}" if totals else "–"),
        ("norm", f"{totals.norm:.4g}" if totals else "–"),
        ("half cosine", _half_cosine(config)),
        ("tensors", f"{len(config.tensors)}, stored as {config.dtype}"),
        ("numbers", f"{totals.stored_numbers:,} of {totals.full_numbers:,}" if totals else "–"),
        ("licence", config.licence or "not stated"),
        ("created", config.created or "–"),
        ("made with", ", ".join(f"{name} {version}" for name, version in config.versions.items())),
    ]
    if totals and totals.added_error > ROUNDING:
        rows.append(("added error", f"{totals.added_error:.4g} by merging or truncating"))
    if totals and totals.rounding_error:
        rows.append(("rounding", f"{totals.rounding_error:.4g} of the norm by storing as {config.dtype}"))
    if config.curvature is not None:
        found = config.curvature
        kept = f"energy in its directions {found.energy_kept:.4f}"
        kind = f"{found.kind}, rank {found.rank}, {kept}" if found.rank else found.kind
        rows.append(("curvature", f"{kind}, {found.sequences:,} sequences, trace {found.trace:.4g}"))
    rows += [("origin", f"{name}: {line}") for name, line in data.origins.items()]
    return rows + [("merged from", f"{source.weight:.2%} {source.name}") for source in config.sources]


def _half_cosine(config: AnchorConfig) -> str:
    from ..anchor.card import settled

    if not config.half_cosine:
        return "–"
    steps, cosine = config.half_cosine[-1]
    return f"{cosine:.4f} ({settled(steps * config.global_batch, cosine)})"


def _print_result(config: AnchorConfig, out: Path, tensors: bool) -> None:
    """What was written, and what cutting has cost: in total and where most."""
    assert config.totals is not None
    cut = sorted(config.tensors.items(), key=lambda item: (-item[1].added_error, item[0]))
    cut = cut if tensors else [item for item in cut if item[1].added_error > ROUNDING][:SHOWN]
    if cut:
        rows = [(name, str(i.rank or "–"), f"{i.added_error:.4g}", f"{i.energy_kept:.4f}") for name, i in cut]
        print_table(("tensor", "rank", "added error", "energy kept"), rows)
        if not tensors:
            typer.echo("These have lost most; all are in anchor_config.json, and --tensors prints them.")
    typer.echo(
        f"{out}: rank {config.rank}, {config.totals.stored_numbers:,} numbers as {config.dtype}, energy kept "
        f"{config.totals.energy_kept:.4f}, added error {config.totals.added_error:.4g}"
        + ("" if config.totals.added_error > ROUNDING else ": nothing but rounding")
        + f", rounded by {config.totals.rounding_error:.4g}"
    )


def _numbers(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise DBAError(
            "The weights cannot be read.", expected="numbers with commas between them, or 'samples'", found=text
        ) from None


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4f}"
