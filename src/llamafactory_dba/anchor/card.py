"""The model card of an anchor: README.md and a picture of what each tensor holds, made from anchor_config.json."""

import re
from pathlib import Path
from typing import Any

from .config import DTYPES, AnchorConfig, read_config


PICTURE = "anchor.png"
LAYER = re.compile(r"\.(\d+)\.")
FAMILIES = ("attention", "mlp", "norm", "embedding", "other")


def write_card(folder: str | Path) -> Path:
    """Writes README.md and the picture into an anchor folder; replaces what is there under these names.

    Raises:
        AnchorError: if the folder does not hold a sound anchor.
    """
    folder = Path(folder)
    config = read_config(folder)
    plot(config, folder / PICTURE)
    path = folder / "README.md"
    path.write_text(render(config), encoding="utf-8")
    return path


def render(config: AnchorConfig) -> str:
    """Text of the card, with the metadata block that the Hugging Face hub reads."""
    base, data, totals = config.base_model, config.data, config.totals
    base_id = base.id or "unknown"
    datasets = [str(name) for name in data.datasets]
    numbers = f"{totals.stored_numbers:,} of {totals.full_numbers:,}" if totals else "unknown"
    energy = f"{totals.energy_kept:.2%}" if totals else "unknown"
    cosine = f"{config.half_cosine[-1][1]:.4f}" if config.half_cosine else "not measured"
    rows = [
        ("Base model", f"`{base_id}`" + (f", revision `{base.revision}`" if base.revision else "")),
        ("Architecture", f"{base.architecture or 'unknown'}, vocabulary {base.vocab_size or 'unknown'}"),
        ("General data", ", ".join(f"`{name}`" for name in datasets) or "unknown"),
        ("Samples, tokens", f"{data.samples:,}, {data.tokens:,}"),
        ("Read as", f"stage `{config.stage}`" + (f", template `{config.template}`" if config.template else "")),
        ("Averaged", f"{config.steps:,} steps of {config.global_batch} samples"),
        ("Cosine between the data halves", cosine),
        ("Rank", str(config.rank)),
        ("Energy kept", energy),
        ("Numbers stored", f"{numbers}, {config.dtype}"),
        ("Size", _size(config)),
        ("Made", f"{config.created or 'unknown'} with {_versions(config)}"),
        ("Licence", config.licence or "not stated; that of the base model and of the data apply"),
        *[("Merged from", f"{source.weight:.1%} `{source.name}`") for source in config.sources],
    ]
    table = "\n".join(f"| {key} | {value} |" for key, value in rows)
    return f"""---
library_name: llamafactory-dba
tags: [dba-anchor, fine-tuning]
{_metadata(config, datasets)}---

# DBA anchor for {base_id}

The mean gradient of `{base_id}` over general data, compressed to rank {config.rank}. It is no model: fine-tuning
with Dynamic Boosted Annealing (arXiv 2509.26242) blends it into the gradients of domain data, so that no general
data is needed in that run. It fits this base model only; another one is refused.

| | |
|---|---|
{table}

## Use

```yaml
model_name_or_path: {base_id}
use_dba: true
dba_anchor_path: path/to/this/folder
```

`pip install llamafactory-dba`, then `llamafactory-cli train your.yaml` with these lines in it.

## What it holds

![Energy kept and norm per layer]({PICTURE})

Energy kept is the share of a tensor's squared norm that its factors still have. Where the cosine between the data
halves is far from 1, more general data would still change the anchor.
"""


def _metadata(config: AnchorConfig, datasets: list[str]) -> str:
    base_id = config.base_model.id
    lines = ""
    # the hub knows ids of the form owner/name; a local path would be refused
    if re.fullmatch(r"[\w.-]+/[\w.-]+", base_id):
        lines += f"base_model: {base_id}\n"
    if re.fullmatch(r"[a-z0-9.-]+", config.licence):
        lines += f"license: {config.licence}\n"
    known = [name for name in datasets if re.fullmatch(r"[\w.-]+/[\w.-]+", name)]
    return lines + (f"datasets: [{', '.join(known)}]\n" if known else "")


def _size(config: AnchorConfig) -> str:
    if not config.totals:
        return "unknown"
    size = config.totals.stored_numbers * DTYPES[config.dtype].itemsize
    return f"{size / 1e9:.2f} GB" if size >= 1e9 else f"{size / 1e6:.2f} MB"


def _versions(config: AnchorConfig) -> str:
    return ", ".join(f"{name} {version}" for name, version in config.versions.items()) or "unknown versions"


def family(name: str) -> str:
    """Which of `FAMILIES` a tensor belongs to, by its name."""
    lowered = name.lower()
    for kind, words in (
        ("norm", ("norm", "ln_")),
        ("attention", ("attn", "attention")),
        ("mlp", ("mlp", "feed_forward", "ffn", "expert")),
        ("embedding", ("embed", "lm_head", "wte", "wpe")),
    ):
        if any(word in lowered for word in words):
            return kind
    return "other"


def per_layer(config: AnchorConfig) -> dict[str, dict[int, tuple[float, float]]]:
    """Family → layer → (energy kept, norm); tensors outside of the layers are left out."""
    squares: dict[str, dict[int, list[float]]] = {}
    for name, info in config.tensors.items():
        found = LAYER.search(name)
        if found:
            row = squares.setdefault(family(name), {}).setdefault(int(found.group(1)), [0.0, 0.0])
            row[0] += info.energy_kept * info.norm**2
            row[1] += info.norm**2
    return {
        kind: {layer: (kept / full if full else 1.0, full**0.5) for layer, (kept, full) in sorted(layers.items())}
        for kind, layers in squares.items()
    }


def plot(config: AnchorConfig, path: Path) -> None:
    """Two panels over the layers, one line per family: energy kept, and norm."""
    # not pyplot: a library must not choose the backend of the program it runs in
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator, PercentFormatter

    data = per_layer(config)
    figure = Figure(figsize=(8, 3.2), dpi=100, layout="constrained")
    FigureCanvasAgg(figure)
    energy, norms = figure.subplots(1, 2)
    shown = [kind for kind in FAMILIES if kind in data]
    for kind in shown:
        color = f"C{FAMILIES.index(kind)}"
        layers = list(data[kind])
        style: dict[str, Any] = {
            "color": color,
            "label": "layer norms" if kind == "norm" else kind,
            "linewidth": 1.6,
            "marker": "o",
            "markersize": 3.5,
        }
        # vectors are kept in full, their energy says nothing
        if kind != "norm":
            energy.plot(layers, [data[kind][layer][0] for layer in layers], **style)
        norms.plot(layers, [data[kind][layer][1] for layer in layers], **style)
    outside = [(name, info) for name, info in config.tensors.items() if not LAYER.search(name)]
    for offset, (name, info) in enumerate(sorted(outside, key=lambda item: -item[1].norm)[:2]):
        norms.axhline(
            info.norm, color="0.5", linewidth=1, linestyle=("--", ":")[offset], label=f"{_tail(name)} (no layer)"
        )
    energy.set(title="Energy kept", xlabel="layer")
    energy.set_ylim(0, 1.04)
    energy.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    norms.set(title="Norm of the mean gradient", xlabel="layer", yscale="log" if _positive(config) else "linear")
    for axes in (energy, norms):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.25, linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = norms.get_legend_handles_labels()
    if handles:
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False, fontsize=9)
    figure.savefig(path)


def _positive(config: AnchorConfig) -> bool:
    return all(info.norm > 0 for info in config.tensors.values())


def _tail(name: str) -> str:
    parts = [part for part in name.split(".") if part not in ("model", "weight", "language_model")]
    return ".".join(parts) or name
