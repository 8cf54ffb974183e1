"""What an anchor run sums up for each kind of curvature: three classes with the same methods (`KindSums`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from ..anchor.curvature import CurvatureTerm
from ..core.fisher import FactoredSum, square_products
from ..core.moments import MomentSum, energy_kept, probe_matrix, square_norm, wants_sketch
from ..core.sums import Sums
from ..errors import DBAError


class Use(NamedTuple):
    """One use of a weight: tied embeddings have two.

    ``name``: of the parameter; ``key``: of this use; ``kind``: ``linear``, ``embedding`` or ``head``.
    """

    name: str
    key: str
    kind: str


class Tokens(NamedTuple):
    """Of one module and one batch: inputs x (B, T, n) or token ids (B, T), gradients g (B, T, m) of the sequences'
    own losses, zero where there is no token, and (B, T) where there is one.
    """

    inputs: Tensor
    grads: Tensor
    mask: Tensor


class Counts(NamedTuple):
    """What the sums are over."""

    sequences: float
    tokens: float
    answers: float


Finished = tuple[dict[str, Tensor], dict[str, list[CurvatureTerm]]]
Shapes = Mapping[str, tuple[int, ...]]


class KindSums(Protocol):
    """The sums of one kind of curvature."""

    kind: str
    rank: int

    def add(self, use: Use, tokens: Tokens, owner: str) -> None:
        """Adds a batch; ``owner``: key of the use that got the same input first."""

    def state_dict(self) -> dict[str, Any]:
        """What `load_state_dict` needs; not copied."""

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a saved state into place."""

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Replaces the sums by their means over processes."""

    def finish(self, counts: Counts, dtype: torch.dtype) -> Finished:
        """Tensors by key, on the CPU, and terms by the name of the parameter."""


class FactoredKind:
    """Row and column sums: m + n numbers per matrix.

    Args:
        uses: what will be added.
        shapes: of the parameters, by name.
        device: where the sums live.
    """

    kind, rank = "factored", 0

    def __init__(self, uses: list[Use], shapes: Shapes, device: torch.device | str) -> None:
        self._sums = {use.name: FactoredSum(shapes[use.name][0], shapes[use.name][1], device) for use in uses}

    def add(self, use: Use, tokens: Tokens, owner: str) -> None:
        """See `KindSums`."""
        self._sums[use.name].add(tokens.inputs[tokens.mask], tokens.grads[tokens.mask])

    def state_dict(self) -> dict[str, Any]:
        """See `KindSums`."""
        return {name: item.state_dict() for name, item in self._sums.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `KindSums`."""
        for name, item in self._sums.items():
            item.load_state_dict(state[name])

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """See `KindSums`."""
        for item in self._sums.values():
            item.average(reduce)

    def finish(self, counts: Counts, dtype: torch.dtype) -> Finished:
        """See `KindSums`; fp32 whatever ``dtype``, since there are so few numbers."""
        tensors: dict[str, Tensor] = {}
        terms = {}
        for name, item in self._sums.items():
            rows, columns = (side.cpu().contiguous() for side in item.product(counts.sequences))
            tensors |= {f"{name}.rows.values": rows, f"{name}.columns.values": columns}
            trace = float(rows.sum(dtype=torch.float64))
            terms[name] = [CurvatureTerm("factored", f"{name}.rows", f"{name}.columns", trace, 1.0, True)]
        return tensors, terms


class DiagonalKind:
    """The whole diagonal: as many numbers as the mean gradient.

    Args:
        sums: one for each matrix, wherever there is room.
    """

    kind, rank = "diagonal", 0

    def __init__(self, sums: Sums) -> None:
        self._sums = sums

    def add(self, use: Use, tokens: Tokens, owner: str) -> None:
        """See `KindSums`."""
        rows = self._sums.shapes[use.name][0]
        self._sums.add(use.name, square_products(tokens.inputs[tokens.mask], tokens.grads[tokens.mask], rows))

    def state_dict(self) -> dict[str, Any]:
        """See `KindSums`."""
        return {name: self._sums.get(name) for name in self._sums.shapes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `KindSums`."""
        for name in self._sums.shapes:
            self._sums.set(name, state[name])

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """See `KindSums`."""
        for name in self._sums.shapes:
            self._sums.set(name, reduce(self._sums.get(name).clone()))

    def finish(self, counts: Counts, dtype: torch.dtype) -> Finished:
        """See `KindSums`."""
        tensors: dict[str, Tensor] = {}
        terms = {}
        for name in self._sums.shapes:
            diagonal = self._sums.get(name) / counts.sequences
            tensors[f"{name}.diagonal"] = diagonal.to("cpu", dtype).contiguous()
            trace = float(diagonal.sum(dtype=torch.float64))
            terms[name] = [CurvatureTerm("diagonal", f"{name}.diagonal", "", trace, 1.0, True)]
        return tensors, terms


class KroneckerKind:
    """Second moments of inputs and output gradients. Inputs that several modules share are summed once.

    Args:
        uses: what will be added.
        shapes: of the parameters, by name.
        rank: eigenvalues kept per side.
        device: where the sums live.
    """

    kind = "kronecker"

    def __init__(self, uses: list[Use], shapes: Shapes, rank: int, device: torch.device | str) -> None:
        self.rank, self._uses, self._shapes, self._device = rank, uses, shapes, device
        self._sums: dict[str, MomentSum] = {}
        self._columns: dict[str, str] = {}  # key of a use -> key of its column side
        self._traces = {use.key: torch.zeros((), dtype=torch.float64, device=device) for use in uses}
        self._omegas: dict[int, Tensor] = {}

    def add(self, use: Use, tokens: Tokens, owner: str) -> None:
        """See `KindSums`."""
        if self._columns.setdefault(use.key, owner) != owner:
            raise DBAError(
                f"The input of {use.name} is shared with other modules in some batches only.",
                expected=f"that of {self._columns[use.key]}",
                found=f"that of {owner}",
                next_step="make the anchor with `dba_curvature_kind: factored`",
            )
        given, grads, mask = tokens
        self._traces[use.key] += square_norm(given, grads)
        if use.kind == "embedding":
            self._sum(f"{use.key}.rows", self._shapes[use.name][0], diagonal=True).add_places(given[mask])
            self._sum(f"{use.key}.columns", grads.shape[2]).add(grads[mask])
            return
        self._sum(f"{use.key}.rows", grads.shape[2], diagonal=use.kind == "head").add(grads[mask])
        if owner == use.key:
            self._sum(f"{use.key}.columns", given.shape[2]).add(given[mask])

    def _sum(self, key: str, size: int, *, diagonal: bool = False) -> MomentSum:
        if key not in self._sums:
            omega = None
            if not diagonal and wants_sketch(size, self.rank):
                if size not in self._omegas:
                    self._omegas[size] = probe_matrix(size, self.rank).to(self._device)
                omega = self._omegas[size]
            self._sums[key] = MomentSum(size, self.rank, self._device, omega=omega, diagonal=diagonal)
        return self._sums[key]

    def state_dict(self) -> dict[str, Any]:
        """See `KindSums`."""
        sums = {
            key: {**item.state_dict(), "size": item.size, "diagonal": item.diagonal}
            for key, item in self._sums.items()
        }
        return {"traces": self._traces, "columns": self._columns, "sums": sums}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """See `KindSums`."""
        for key, value in state["traces"].items():
            self._traces[key].copy_(value)
        self._columns = dict(state["columns"])
        for key, item in state["sums"].items():
            self._sum(key, item["size"], diagonal=item["diagonal"]).load_state_dict(item)

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """See `KindSums`."""
        for tensor in self._traces.values():
            tensor.copy_(reduce(tensor.clone()))
        for key in sorted(self._sums):
            self._sums[key].average(reduce)

    def finish(self, counts: Counts, dtype: torch.dtype) -> Finished:
        """See `KindSums`."""
        tensors: dict[str, Tensor] = {}
        terms: dict[str, list[CurvatureTerm]] = {}
        made: dict[str, tuple[float, float]] = {}

        def side(key: str, count: float, factor: float = 1.0) -> tuple[float, float]:
            """Puts a side among the tensors once; its trace, and the share of it in its directions."""
            if key not in made:
                item = self._sums[key]
                spectrum, trace = item.spectrum(count), float(item.trace)
                made[key] = trace / count, energy_kept(spectrum, trace, count)
                tensors[f"{key}.values"] = (spectrum.values * factor).cpu().contiguous()
                if spectrum.vectors is not None:
                    tensors[f"{key}.vectors"] = spectrum.vectors.to("cpu", dtype).contiguous()
                    tensors[f"{key}.rest"] = torch.tensor(spectrum.rest * factor)
            return made[key]

        for use in self._uses:
            rows, columns = f"{use.key}.rows", f"{self._columns.get(use.key, use.key)}.columns"
            if rows not in self._sums:
                continue  # its output never had a gradient
            row_count = counts.tokens if use.kind == "embedding" else counts.sequences
            column_count = {"embedding": counts.sequences, "head": counts.answers, "linear": counts.tokens}[use.kind]
            column_trace, column_kept = side(columns, column_count)
            trace = float(self._traces[use.key]) / counts.sequences
            product = float(self._sums[rows].trace) / row_count * column_trace
            # the constant that makes the trace exact goes to the rows, which nobody shares
            _, row_kept = side(rows, row_count, trace / product if product > 0 else 0.0)
            exact = self._sums[rows].omega is None and self._sums[columns].omega is None
            kind = "kronecker" if use.kind == "linear" else "rows"
            kept = row_kept * column_kept
            terms.setdefault(use.name, []).append(CurvatureTerm(kind, rows, columns, trace, kept, exact))
        return tensors, terms
