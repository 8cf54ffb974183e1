"""Collects the curvature of the general data while the anchor pass makes its backward passes.

Hooks on the model's linear and embedding modules see every token's input x and output gradient g; a `KindSums` of the
kind asked for (`curvature_kinds`) sums what it needs of them. No backward pass is added: the gradients are those that
the mean is made of, so the labels are the data's own (the empirical Fisher matrix). docs/elastic.md compares that
with labels sampled from the model.

Where the backward pass runs over a recomputed forward pass (gradient checkpointing, reentrant), only the recomputed
one is seen. Without reentrance the inputs are kept until their gradient comes, which costs the memory that
checkpointing was to save.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ..anchor.curvature import Curvature, CurvatureParts, CurvatureTerm
from ..core.fisher import diagonal_of
from ..errors import DBAError
from .curvature_kinds import Counts, DiagonalKind, FactoredKind, KindSums, KroneckerKind, Tokens, Use
from .placement import SQUARES_FILE, place_sums


class Batch(NamedTuple):
    """What the hooks need to know of the batch at hand.

    Attributes:
        tokens: (B, T) whether there is a token, not padding.
        answers: (B, T) whether the output at that place is asked for a token that counts in the loss.
        scale: factor between the sum of the tokens' losses and the number that the backward pass starts from.
    """

    tokens: Tensor
    answers: Tensor
    scale: Tensor | float


class CurvatureCollector:
    """Sums of one anchor run.

    Args:
        uses: the modules to watch, from `find_uses`.
        parameters: trainable parameters by canonical name.
        sums: of the kind asked for.
        device: where the sums of vectors live.
    """

    def __init__(
        self,
        uses: Mapping[nn.Module, Use],
        parameters: Mapping[str, nn.Parameter],
        sums: KindSums,
        device: torch.device | str,
    ) -> None:
        self.uses, self.sums = uses, sums
        covered = {use.name for use in self.uses.values()}
        vectors = [name for name, parameter in parameters.items() if parameter.dim() < 2 and name not in covered]
        self.uncovered = [name for name in parameters if name not in covered and name not in vectors]
        self.vectors = {name: torch.zeros(2, *parameters[name].shape, device=device) for name in vectors}
        # sequences, squares of a batch's sequences, tokens, answers
        self.counts = torch.zeros(4, dtype=torch.float64, device=device)
        self._batch: Batch | None = None
        self._last: tuple[Tensor, str] | None = None
        self._handles = [module.register_forward_hook(self._seen) for module in self.uses]

    def begin(self, batch: Batch) -> None:
        """Starts a forward and backward pass."""
        self._batch, self._last = batch, None
        size = batch.tokens.shape[0]
        amounts = (size, size**2, batch.tokens.sum(), batch.answers.sum())
        self.counts += torch.stack([torch.as_tensor(x, device=self.counts.device).double() for x in amounts])

    def end(self) -> None:
        """Ends it; later passes, such as evaluations, are not seen."""
        self._batch = self._last = None

    @torch.no_grad()
    def add_vector(self, name: str, grad: Tensor) -> None:
        """Takes the gradient of a whole batch; only vectors are of interest."""
        sums = self.vectors.get(name)
        if sums is not None and self._batch is not None:
            whole = grad.detach().float() / self._batch.scale
            sums[0] += whole
            sums[1] += whole.square()

    def _seen(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        """A module has run; where its output gets a gradient, `_add` waits for it."""
        batch = self._batch
        if batch is None or not isinstance(output, Tensor) or not output.requires_grad:
            return
        use, given = self.uses[module], inputs[0]
        if tuple(output.shape[:2]) != tuple(batch.tokens.shape) or output.dim() != 3:
            raise DBAError(
                f"The curvature of {use.name} cannot be collected.",
                expected=f"an output for each of {tuple(batch.tokens.shape)} tokens",
                found=tuple(output.shape),
                next_step="make the anchor with `dba_anchor_curvature: false`; `dba_variant: elastic` needs a model "
                "whose linear layers see all tokens of a batch",
            )
        owner = use.key  # of the input: the first module in a row that gets it
        if use.kind == "linear":
            if self._last is not None and given is self._last[0]:
                owner = self._last[1]
            self._last = (given, owner)
        output.register_hook(lambda grad: self._add(use, given, grad, batch, owner))

    @torch.no_grad()
    def _add(self, use: Use, given: Tensor, grad: Tensor, batch: Batch, owner: str) -> None:
        mask = batch.answers if use.kind == "head" else batch.tokens
        given = given.detach()
        if use.kind == "head":  # only answers have a gradient there, and its rows are long
            order = mask.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, : int(mask.sum(1).max())]
            mask = mask.gather(1, order)
            grad = grad.gather(1, order.unsqueeze(-1).expand(-1, -1, grad.shape[2]))
            given = given.gather(1, order.unsqueeze(-1).expand(-1, -1, given.shape[2]))
        grad = grad.detach().float() / batch.scale * mask.unsqueeze(-1)
        self.sums.add(use, Tokens(given, grad, mask), owner)

    def state_dict(self) -> dict[str, Any]:
        """Everything that `load_state_dict` needs to go on bit for bit; not copied."""
        return {
            "kind": self.sums.kind,
            "counts": self.counts,
            "vectors": self.vectors,
            "sums": self.sums.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Puts a saved state into place."""
        self.counts.copy_(state["counts"])
        for name, value in state["vectors"].items():
            self.vectors[name].copy_(value)
        self.sums.load_state_dict(state["sums"])

    def average(self, reduce: Callable[[Tensor], Tensor]) -> None:
        """Replaces all sums by their means over processes: only ratios of them are used, and those do not change.

        Args:
            reduce: as in `core.mean.RunningMean.average`.
        """
        for tensor in (self.counts, *self.vectors.values()):
            tensor.copy_(reduce(tensor.clone()))
        self.sums.average(reduce)

    def release(self) -> None:
        """Takes the hooks off."""
        for handle in self._handles:
            handle.remove()

    def finish(self, dtype: str, world_size: int) -> CurvatureParts:
        """The curvature, on the CPU.

        Args:
            dtype: of what is large: ``float32``, ``bfloat16``, or ``int8``, which is taken as ``bfloat16``.
            world_size: processes that were averaged over, for the counts in the header.
        """
        dtype = "bfloat16" if dtype == "int8" else dtype
        sequences, pairs, tokens, answers = self.counts.tolist()
        tensors, terms = self.sums.finish(Counts(sequences, tokens, answers), getattr(torch, dtype))
        for name, (first, second) in self.vectors.items():
            diagonal = diagonal_of(first.double(), second.double(), samples=sequences, pairs=pairs)
            tensors[f"{name}.diagonal"] = diagonal.float().cpu().contiguous()
            terms[name] = [CurvatureTerm("diagonal", f"{name}.diagonal", "", float(diagonal.sum()), 1.0, True)]
        everything = [term for items in terms.values() for term in items]
        whole = sum(term.trace for term in everything)
        stored = sum(term.trace * term.energy_kept for term in everything)
        header = Curvature(
            kind=self.sums.kind,
            rank=self.sums.rank,
            sequences=round(sequences * world_size),
            tokens=round(tokens * world_size),
            answers=round(answers * world_size),
            labels="data",
            dtype=dtype,
            trace=whole,
            energy_kept=stored / whole if whole > 0 else 1.0,
            tensors={name: tuple(items) for name, items in sorted(terms.items())},
        )
        return CurvatureParts(header, tensors)


def find_uses(model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> dict[nn.Module, Use]:
    """The modules whose weights are among the parameters."""
    names = {id(parameter): name for name, parameter in parameters.items()}
    get_head = getattr(model, "get_output_embeddings", None)
    head = get_head() if callable(get_head) else None
    uses: dict[nn.Module, Use] = {}
    for module in model.modules():
        name = names.get(id(getattr(module, "weight", None)))
        if name is None or not isinstance(module, nn.Linear | nn.Embedding):
            continue
        kind = "embedding" if isinstance(module, nn.Embedding) else "head" if module is head else "linear"
        # a tied matrix has one name and two uses
        uses[module] = Use(name, name if kind == "linear" else f"{name}.{kind}", kind)
    return uses


def batch_of(inputs: Mapping[str, Tensor], scale: Tensor | float) -> Batch:
    """Where the tokens and the answers of a batch are.

    Args:
        inputs: of the model: `input_ids` and `labels` (B, T), `attention_mask` (B, T) or (B, 1, T, T), or none.
        scale: see `Batch`.
    """
    ids, labels, mask = inputs["input_ids"], inputs["labels"], inputs.get("attention_mask")
    if mask is None:
        tokens = torch.ones_like(ids, dtype=torch.bool)
    elif mask.dim() == 2:
        tokens = mask != 0
    else:  # what a token may look at: padding may not even look at itself
        own = mask[:, 0].diagonal(dim1=-2, dim2=-1)
        tokens = own if own.dtype == torch.bool else own == 0
    asked = torch.zeros_like(tokens)
    asked[:, :-1] = labels[:, 1:] != -100
    return Batch(tokens, asked, scale)


def make_collector(
    model: nn.Module,
    parameters: Mapping[str, nn.Parameter],
    finetuning_args: Any,
    training_args: Any,
    device: torch.device,
) -> CurvatureCollector:
    """The collector of an anchor run with the kind of sums that it asks for.

    Args:
        model: the bare model.
        parameters: its trainable parameters by canonical name.
        finetuning_args: the host's, with the DBA fields.
        training_args: the host's; sums that fit nowhere else go to a file in `output_dir`.
        device: of the model.
    """
    uses = find_uses(model, parameters)
    shapes = {use.name: tuple(parameters[use.name].shape) for use in uses.values()}
    sums: KindSums
    if finetuning_args.dba_curvature_kind == "kronecker":
        sums = KroneckerKind(list(uses.values()), shapes, finetuning_args.dba_curvature_rank, device)
    elif finetuning_args.dba_curvature_kind == "diagonal":
        placement = finetuning_args.dba_anchor_placement
        sums = DiagonalKind(place_sums(shapes, device, placement, training_args, what="diagonal", name=SQUARES_FILE))
    else:
        sums = FactoredKind(list(uses.values()), shapes, device)
    return CurvatureCollector(uses, parameters, sums, device)
