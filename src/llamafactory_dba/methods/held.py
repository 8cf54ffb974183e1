"""Tensors that are held near their base values: paired with their curvature, and what is kept of the base model."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ..anchor.curvature import TensorCurvature
from ..core.fisher import Product
from ..core.kronecker import Start, Term, exact_copy, start_of
from ..core.moments import Spectrum, truncated
from ..errors import DBAError


class Held(NamedTuple):
    """One tensor, its curvature on its device, and what is needed of its base value."""

    name: str
    parameter: nn.Parameter
    terms: tuple[tuple[Term, Start], ...]
    diagonal: tuple[Tensor | Product, Tensor] | None  # curvature and base value


def even_curvature(parameters: Mapping[str, nn.Parameter]) -> dict[str, TensorCurvature]:
    """F = 1 for every weight: m + n numbers of a matrix."""
    found = {}
    for name, parameter in parameters.items():
        ones = torch.ones(parameter.shape[-1] if parameter.dim() else 1)
        whole: Tensor | Product = (
            ones.reshape(parameter.shape)
            if parameter.dim() < 2
            else Product(torch.ones(parameter.numel() // parameter.shape[-1]), ones)
        )
        found[name] = TensorCurvature((), whole)
    return found


def make_targets(
    curvature: Mapping[str, TensorCurvature],
    parameters: Mapping[str, nn.Parameter],
    base: Mapping[str, Tensor],
    *,
    keep: str = "device",
    rank: int | None = None,
    whole: bool = False,
) -> list[Held]:
    """Pairs trainable tensors with their curvature; tensors without one are left out.

    Args:
        curvature: by name, on any device.
        parameters: trainable tensors by the same names. An embedding may have rows at its end that the anchor's base
            lacks: they are not held.
        base: the base model's values of these parameters, in the parameters' own dtype; on any device.
        keep: where the base weights are kept: ``device`` or ``host``; ``none`` for Kronecker terms only.
        rank: of Kronecker terms, directions used per side at most; all that the curvature has by default.
        whole: of Kronecker terms, whether to keep the base weights also where less is needed (`kronecker.restore_`
            with ``products``); not with ``none``.

    Raises:
        DBAError: ``keep`` is ``none`` and a matrix has a diagonal.
    """
    placed: dict[int, Tensor] = {}
    shortened: dict[tuple[int, int], Spectrum] = {}
    wholes: dict[str, Tensor] = {}

    def place(tensor: Tensor, device: torch.device) -> Tensor:
        # matrices with one input share its eigenvectors; fp32 on a CPU, which multiplies it faster
        if id(tensor) not in placed:
            wide = device.type == "cpu" and tensor.dtype == torch.bfloat16
            placed[id(tensor)] = tensor.to(device, torch.float32 if wide else tensor.dtype)
        return placed[id(tensor)]

    def shorten(term: Term) -> tuple[Spectrum, ...]:
        sides = []
        for side in term:
            key = (id(side.values), id(side.vectors))
            if key not in shortened:
                shortened[key] = side if rank is None else truncated(side, rank)
            sides.append(shortened[key])
        return tuple(sides)

    targets = []
    for name, parameter in parameters.items():
        found, device = curvature.get(name), parameter.device
        if found is None:
            continue
        start = base[name].to(device)
        if found.diagonal is not None:
            if keep == "none" and parameter.dim() > 1:
                raise DBAError(
                    "This curvature needs the base weights.",
                    expected="an anchor with Kronecker factors (`dba_curvature_kind: kronecker`)",
                    found=f"a diagonal for {name}",
                    next_step="set `dba_elastic_base: device` or `host`",
                )
            diagonal = _placed_diagonal(found.diagonal, parameter)
            targets.append(Held(name, parameter, (), (diagonal, _kept(start, keep))))
            continue
        terms = []
        for term in found.terms:
            rows, columns = (_placed(side, device, place) for side in shorten(term))
            if rows.vectors is None and len(rows.values) < len(parameter):
                added = rows.values.new_zeros(len(parameter) - len(rows.values))
                rows = rows._replace(values=torch.cat([rows.values, added]))
            if whole and keep != "none":
                made = Start(whole=exact_copy(start))
            else:
                made = start_of(start, Term(rows, columns), whole=keep != "none")
            if made.whole is not None:  # tied embeddings share it
                made = Start(whole=wholes.setdefault(name, _to_host(made.whole) if keep == "host" else made.whole))
            terms.append((Term(rows, columns), made))
        targets.append(Held(name, parameter, tuple(terms), None))
    return targets


def _kept(start: Tensor, keep: str) -> Tensor:
    """A copy in bf16 where that is exact, as it is for a model that was stored so."""
    return _to_host(exact_copy(start)) if keep == "host" and start.dim() > 1 else exact_copy(start)


def _to_host(tensor: Tensor) -> Tensor:
    """On the CPU, in memory that a GPU reads directly, where there is enough of that."""
    host = tensor.to("cpu")
    if tensor.device.type == "cuda":
        with contextlib.suppress(RuntimeError):
            return host.pin_memory()
    return host


def _placed_diagonal(diagonal: Tensor | Product, parameter: nn.Parameter) -> Tensor | Product:
    """On the parameter's device; rows that the anchor's base lacks have no curvature."""
    added = (
        len(parameter) - len(diagonal.rows if isinstance(diagonal, Product) else diagonal) if parameter.dim() else 0
    )

    def grown(tensor: Tensor) -> Tensor:
        tensor = tensor.to(parameter.device)
        return torch.cat([tensor, tensor.new_zeros(added, *tensor.shape[1:])]) if added else tensor

    if isinstance(diagonal, Product):
        return Product(grown(diagonal.rows), diagonal.columns.to(parameter.device))
    return grown(diagonal)


def _placed(side: Spectrum, device: torch.device, place: Callable[[Tensor, torch.device], Tensor]) -> Spectrum:
    vectors = None if side.vectors is None else place(side.vectors, device)
    return Spectrum(place(side.values, device), vectors, side.rest)


def bytes_in_memory(targets: Sequence[Held]) -> int:
    """Bytes of everything that is kept for the restorations; shared tensors count once."""
    tensors: dict[int, Tensor] = {}
    for target in targets:
        found: list[Tensor | None] = []
        for item in target.diagonal or ():
            found += list(item) if isinstance(item, Product) else [item]
        for term, start in target.terms:
            found += [term.rows.values, term.rows.vectors, term.columns.values, term.columns.vectors, *start]
        tensors |= {id(item): item for item in found if item is not None}
    return sum(item.numel() * item.element_size() for item in tensors.values())
