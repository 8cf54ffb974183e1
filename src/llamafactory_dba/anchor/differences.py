"""What differs between two base models, by their fingerprints, in words."""

from pathlib import Path

from ..sentences import Sentence, first_few
from .fingerprint import Fingerprint, TensorPrint, fingerprint_folder


FORMS = {
    "architecture": "another architecture: the anchor was made for {before}, the model is {now}",
    "added": "another vocabulary size: {before} when the anchor was made, {now} here (tokens were added or the "
    "embedding was padded; {name})",
    "cut": "another vocabulary size: {before} when the anchor was made, {now} here (the embedding was cut; {name})",
    "shapes": "other shapes in {count} of {total} tensors, first {name}: {before} in the anchor's model, {now} here",
    "missing": "{count} tensors missing here: {names}",
    "only": "{count} tensors only here: {names}",
    "dtype": "another dtype in {count} of {total} tensors, first {name}: {before} in the anchor's model, {now} here",
    "rounded": "another dtype in {count} of {total} tensors, first {name}: {before} in the anchor's model, {now} here"
    "; the values agree up to rounding",
    "partly": "other values in {count} of {total} tensors of the same name and shape (partly the same model): {names}",
    "values": "other values in {count} of {total} tensors of the same name and shape (a fine-tuned sibling or an "
    "unrelated model): {names}",
}
EMBEDDING, HEAD = "embed_tokens.weight", "lm_head.weight"
# one row per token, by the names that the architectures of the host give them
VOCABULARY = (EMBEDDING, HEAD, "wte.weight", "word_embeddings.weight", "embed_out.weight", "output_layer.weight")


def _difference(kind: str, **values: object) -> Sentence:
    return Sentence.of(FORMS, kind, **values)


def added_rows(expected: Fingerprint, found: Fingerprint) -> dict[str, int]:
    """Vocabulary tensors that are as in ``expected`` but for rows at their end: name → rows in ``expected``.

    Whether the rows that both have are the same is for `fingerprint_folder` with these ``rows`` to find out.
    """
    return {
        name: before.shape[0]
        for name, before in expected.tensors.items()
        if (now := found.tensors.get(name)) is not None and is_extended(name, before.shape, now.shape)
    }


def is_extended(name: str, before: tuple[int, ...], now: tuple[int, ...]) -> bool:
    """Whether a vocabulary tensor of shape ``now`` is one of shape ``before`` with rows added."""
    return is_vocabulary(name, before, now) and now[0] > before[0]


def without_added_rows(expected: Fingerprint, folder: str | Path) -> tuple[Fingerprint, dict[str, int]]:
    """Fingerprint of a model as it was before tokens were added, and its `added_rows`."""
    found = fingerprint_folder(folder)
    rows = added_rows(expected, found)
    return (fingerprint_folder(folder, rows=rows) if rows else found), rows


def same_values(expected: Fingerprint, found: Fingerprint) -> bool:
    """Whether the two are one model, if need be in different dtypes."""
    left, right = _without_tied_head(expected, found)
    return left.keys() == right.keys() and all(
        left[name].shape == right[name].shape and left[name].rounded == right[name].rounded for name in left
    )


def compare(expected: Fingerprint, found: Fingerprint) -> list[Sentence]:
    """Every difference, a sentence of `FORMS`, the telling ones first; empty for the same model.

    Where one side has no readable weights only the architecture is compared.
    """
    differences = []
    if expected.architecture and found.architecture and expected.architecture != found.architecture:
        differences.append(_difference("architecture", before=expected.architecture, now=found.architecture))
    if not (expected.known and found.known):
        return differences
    left, right = _without_tied_head(expected, found)
    shared = [name for name in left if name in right]
    resized = [name for name in shared if left[name].shape != right[name].shape]
    differences += _vocabulary(left, right, resized)
    resized = [name for name in resized if not is_vocabulary(name, left[name].shape, right[name].shape)]
    if resized:
        name = resized[0]
        before, now = list(left[name].shape), list(right[name].shape)
        differences.append(
            _difference("shapes", count=len(resized), total=len(left), name=name, before=before, now=now)
        )
    for kind, names in (("missing", left.keys() - right.keys()), ("only", right.keys() - left.keys())):
        if names:
            differences.append(_difference(kind, count=len(names), names=first_few(sorted(names))))
    return differences + _dtypes_and_values(left, right, shared)


def is_vocabulary(name: str, left: tuple[int, ...], right: tuple[int, ...]) -> bool:
    """Whether a tensor has one row per token, by its name and by what its two shapes share."""
    return name.endswith(VOCABULARY) and left[1:] == right[1:]


def _vocabulary(left: dict[str, TensorPrint], right: dict[str, TensorPrint], resized: list[str]) -> list[Sentence]:
    for name in resized:
        if is_vocabulary(name, left[name].shape, right[name].shape):
            before, now = left[name].shape[0], right[name].shape[0]
            return [_difference("added" if now > before else "cut", before=before, now=now, name=name)]
    return []


def _dtypes_and_values(
    left: dict[str, TensorPrint], right: dict[str, TensorPrint], shared: list[str]
) -> list[Sentence]:
    differences = []
    same_shape = [name for name in shared if left[name].shape == right[name].shape]
    cast = [name for name in same_shape if left[name].dtype != right[name].dtype]
    changed = [
        name
        for name in same_shape
        if (left[name].rounded != right[name].rounded if name in cast else left[name].hash != right[name].hash)
    ]
    if cast:
        name, kind = cast[0], "dtype" if changed else "rounded"
        before, now = left[name].dtype, right[name].dtype
        differences.append(_difference(kind, count=len(cast), total=len(shared), name=name, before=before, now=now))
    if changed:
        kind = "values" if len(changed) > 0.9 * len(shared) and len(shared) > 1 else "partly"
        differences.append(_difference(kind, count=len(changed), total=len(shared), names=first_few(changed)))
    return differences


def _without_tied_head(
    expected: Fingerprint, found: Fingerprint
) -> tuple[dict[str, TensorPrint], dict[str, TensorPrint]]:
    """A tied head may be saved or not; it says nothing that the embedding does not."""
    sides = []
    for this, other in ((expected.tensors, found.tensors), (found.tensors, expected.tensors)):
        embedding = next((p for name, p in this.items() if name.endswith(EMBEDDING)), None)
        extra = {n for n, p in this.items() if n.endswith(HEAD) and n not in other and p == embedding}
        sides.append({name: p for name, p in this.items() if name not in extra})
    return sides[0], sides[1]
