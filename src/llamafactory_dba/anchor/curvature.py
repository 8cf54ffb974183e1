"""curvature.safetensors: second-order information of the general data, beside the anchor in the same folder.

Optional, and read only by runs with `dba_variant: elastic`. `core.kronecker` has the mathematics; what lies here are
eigenvalues and eigenvectors, as the keys of `CurvatureTerm` say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..core.fisher import Product
from ..core.kronecker import Term
from ..core.moments import Spectrum
from ..errors import AnchorError


if TYPE_CHECKING:
    from .config import AnchorConfig

CURVATURE = "curvature.safetensors"
NEXT_STEP = "make the anchor again with `dba_anchor_curvature: true` (`overwrite_output_dir: true` replaces this one)"


@dataclass(frozen=True)
class CurvatureTerm:
    """How one term of a tensor's curvature is stored.

    Attributes:
        kind: ``factored``: products of a number per row and one per column; ``diagonal``: one number per element;
            ``kronecker``: eigenvalues of both sides; ``rows``: likewise, and the row side is diagonal (a vocabulary).
        rows: key of the row side; behind it ``.values`` and, unless it is diagonal, ``.vectors`` and ``.rest``.
        columns: likewise of the column side, which matrices with the same input share; empty for ``diagonal``.
        trace: sum of all eigenvalues, nats per sequence and squared unit of the parameter.
        energy_kept: share of the trace that lies in the stored directions, in [0, 1].
        exact: whether no side went through a sketch.
    """

    kind: str
    rows: str
    columns: str
    trace: float
    energy_kept: float
    exact: bool


@dataclass(frozen=True)
class Curvature:
    """What anchor_config.json says of curvature.safetensors.

    Attributes:
        kind: ``factored``, ``diagonal`` or ``kronecker``: that of matrices; vectors have a diagonal always.
        rank: eigenvalues kept per side at most; 0 for the other kinds.
        sequences: rows of general data that were averaged over.
        tokens: tokens, padding left out.
        answers: tokens that count in the loss.
        labels: ``data``: gradients of the general data's own answers (the empirical Fisher matrix).
        dtype: of eigenvectors and of the diagonals of matrices, ``float32`` or ``bfloat16``; the rest is fp32.
        trace: over all tensors.
        energy_kept: share of it that is stored.
        tensors: name → terms; two where a matrix is both embedding and output layer.
        hash: SHA-256 of the file.
    """

    kind: str
    rank: int
    sequences: int
    tokens: int
    answers: int
    labels: str
    dtype: str
    trace: float
    energy_kept: float
    tensors: dict[str, tuple[CurvatureTerm, ...]] = field(default_factory=dict)
    hash: str = ""

    @classmethod
    def from_dict(cls, raw: Mapping[str, Any]) -> Curvature:
        """From JSON; unknown keys are ignored, a missing one is a KeyError."""

        def known(kind: type, values: Mapping[str, Any]) -> dict[str, Any]:
            return {item.name: values[item.name] for item in fields(kind)}

        terms = {
            name: tuple(CurvatureTerm(**known(CurvatureTerm, term)) for term in items)
            for name, items in raw["tensors"].items()
        }
        return cls(**{**known(cls, raw), "tensors": terms})


class CurvatureParts(NamedTuple):
    """A curvature to be written: the header without its hash, and the tensors by key."""

    header: Curvature
    tensors: dict[str, Tensor]


class TensorCurvature(NamedTuple):
    """Of one tensor: Kronecker terms, or a diagonal, of the parameter's shape or as a product."""

    terms: tuple[Term, ...]
    diagonal: Tensor | Product | None


def require_curvature(folder: Path, config: AnchorConfig) -> Curvature:
    """The header's entry.

    Raises:
        AnchorError: this anchor has none.
    """
    if config.curvature is None:
        raise AnchorError(
            f"The anchor in {folder} has no curvature, which the chosen `dba_variant` needs.",
            expected=f"{CURVATURE} and its entry in the header",
            found="the mean gradient only",
            next_step=NEXT_STEP,
        )
    return config.curvature


def mean_curvature(folder: Path, config: AnchorConfig) -> float:
    """Trace by the number of weights that have a curvature: nats per sequence and squared unit of a weight.

    Over the whole anchor, whatever part of it is trained: what a strength relative to it means stays the same.

    Raises:
        AnchorError: this anchor has no curvature.
    """
    header = require_curvature(folder, config)
    numbers = sum(math.prod(config.tensors[name].shape) for name in header.tensors)
    return header.trace / numbers if numbers else 0.0


def load_curvature(folder: str | Path, config: AnchorConfig, names: Iterable[str]) -> dict[str, TensorCurvature]:
    """Reads what the header lists of these tensors, on the CPU and as stored; names without a curvature are left out.

    Raises:
        AnchorError: there is none, the file is damaged, or a tensor is missing, of a wrong shape, or not finite.
    """
    folder = Path(folder)
    header = require_curvature(folder, config)
    path = folder / CURVATURE
    shared: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:

            def read(key: str) -> Tensor:
                if key not in shared:
                    shared[key] = _checked(path, key, file.get_tensor(key))
                return shared[key]

            found = {}
            for name in names:
                terms = header.tensors.get(name)
                if terms is not None:
                    found[name] = _assemble(path, name, config.tensors[name].shape, terms, read)
            return found
    except (SafetensorError, OSError) as error:
        raise AnchorError(f"{path} is missing, damaged or cut off.", found=error, next_step=NEXT_STEP) from error


def _assemble(
    path: Path, name: str, shape: tuple[int, ...], terms: tuple[CurvatureTerm, ...], read: Callable[[str], Tensor]
) -> TensorCurvature:
    if terms[0].kind == "diagonal":
        diagonal = read(terms[0].rows)
        _check_shape(path, name, tuple(diagonal.shape), shape)
        return TensorCurvature((), diagonal)
    if terms[0].kind == "factored":
        product = Product(read(f"{terms[0].rows}.values"), read(f"{terms[0].columns}.values"))
        _check_shape(path, name, (len(product.rows), len(product.columns)), shape)
        return TensorCurvature((), product)
    made = []
    for term in terms:
        rows = Spectrum(read(f"{term.rows}.values"), None) if term.kind == "rows" else _side(term.rows, read)
        columns = _side(term.columns, read)
        sizes = tuple(len(side.values if side.vectors is None else side.vectors) for side in (rows, columns))
        _check_shape(path, name, sizes, shape)
        made.append(Term(rows, columns))
    return TensorCurvature(tuple(made), None)


def _side(key: str, read: Callable[[str], Tensor]) -> Spectrum:
    return Spectrum(read(f"{key}.values"), read(f"{key}.vectors"), float(read(f"{key}.rest")))


def _check_shape(path: Path, name: str, found: tuple[int, ...], expected: tuple[int, ...]) -> None:
    if found != tuple(expected):
        raise AnchorError(
            f"The curvature of {name} in {path} has another shape than the tensor.",
            expected=list(expected),
            found=list(found),
            next_step=NEXT_STEP,
        )


def _checked(path: Path, key: str, tensor: Tensor) -> Tensor:
    if not bool(torch.isfinite(tensor.float().sum())):
        raise AnchorError(f"{key} in {path} has NaN or Inf in it.", expected="finite numbers", next_step=NEXT_STEP)
    return tensor
