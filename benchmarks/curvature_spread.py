"""How unevenly an anchor's curvature F is spread over the weights: would another mean make the strength carry over?

    python benchmarks/curvature_spread.py ANCHOR [ANCHOR ...]     # folders; writes results/curvature_spread.json

`dba_elastic_strength` is relative to the mean of F over all weights (docs/elastic.md). The best one differs a
thousandfold between the micro world and real text. If that came from how F is spread, one of the other means here
would differ from the plain one by as much more in one world than in the other.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, command, machine, write

from llamafactory_dba.anchor.config import read_config
from llamafactory_dba.anchor.curvature import load_curvature
from llamafactory_dba.core.fisher import Product
from llamafactory_dba.core.moments import Spectrum


SHARES = (0.5, 0.9, 0.99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anchors", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=RESULTS / "curvature_spread.json")
    args = parser.parse_args()
    found = [spread(folder) for folder in args.anchors]
    for item in found:
        print(item)
    write({"command": command(), "machine": machine("cpu", ("torch", "llamafactory-dba")), "anchors": found}, args.out)


def spread(folder: Path) -> dict[str, Any]:
    """Means of F, each by the plain one, and the share of directions that hold so much of its trace."""
    config = read_config(folder)
    assert config.curvature is not None
    parts = []
    for name, item in load_curvature(folder, config, config.curvature.tensors).items():
        shape = config.tensors[name].shape
        if isinstance(item.diagonal, Product):
            parts.append(torch.outer(item.diagonal.rows, item.diagonal.columns).flatten())
        elif item.diagonal is not None:
            parts.append(item.diagonal.flatten())
        else:  # in the basis of each use's eigenvectors; of tied embeddings the two bases differ
            terms = [
                torch.outer(*(every(side, size) for side, size in zip(t, shape, strict=True))) for t in item.terms
            ]
            parts.append(torch.stack(terms).sum(0).flatten())
    values = torch.cat([part.double() for part in parts]).sort(descending=True).values
    mean, summed = values.mean(), values.cumsum(0) / values.sum()
    return {
        "base_model": Path(config.base_model.id).name,
        "kind": config.curvature.kind,
        "directions": len(values),
        "mean": float(mean),
        "weighted_by_itself": float(values.square().sum() / values.sum() / mean),
        "median": float(values[len(values) // 2] / mean),
        "square_of_mean_root": float(values.sqrt().mean().square() / mean),
        "directions_with": {f"{share:g} of the trace": float((summed < share).double().mean()) for share in SHARES},
    }


def every(side: Spectrum, size: int) -> torch.Tensor:
    """All eigenvalues, the rest by its mean."""
    missing = size - len(side.values)
    return torch.cat([side.values.double(), torch.full((missing,), side.rest, dtype=torch.float64)])


if __name__ == "__main__":
    main()
