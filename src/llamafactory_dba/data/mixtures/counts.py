"""How many rows each part gives, from what its sets have. Nothing is drawn yet: problems are found before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import NamedTuple

from ...errors import DBAError
from ...sentences import describe_names
from .recipe import Mixture, Part


class Wanted(NamedTuple):
    """What is taken of one part.

    Attributes:
        available: rows of its sets.
        rows: rows of the mixture that come from it.
        groups: value of the ``per`` column → rows that have it; {} without one.
    """

    available: int
    rows: int
    groups: Mapping[str, int]


def counts(mixture: Mixture, available: Sequence[int], groups: Sequence[Mapping[str, int]]) -> list[Wanted]:
    """Rows of each part.

    Args:
        mixture: the recipe.
        available: rows that each part's sets have.
        groups: of each part, value of its ``per`` column → rows; {} without one.

    Raises:
        DBAError: a set has fewer rows than asked for and may not be repeated, or other than expected; or the parts do
            not come to the mixture's ``rows``. Names all problems.
    """
    problems: list[str] = []
    for part, have, grouped in zip(mixture.parts, available, groups, strict=True):
        problems += _missing(part, have, grouped)
    rows = _rows(mixture, available, groups)
    for part, have, want in zip(mixture.parts, available, rows, strict=True):
        if want > have and not part.repeat and not part.times and not part.per:
            problems.append(
                f"{part.set}: {want:,} rows are asked for, {have:,} are there (`repeat: true` uses them again)"
            )
    if mixture.rows is not None and sum(rows) != mixture.rows and not problems:
        each = ", ".join(f"{part.set} {count:,}" for part, count in zip(mixture.parts, rows, strict=True))
        problems.append(f"the parts come to {sum(rows):,} rows, the recipe says {mixture.rows:,}: {each}")
    if problems:
        raise DBAError(
            f"{mixture.name} cannot be made of these sets.",
            found="\n    ".join(["", *problems]),
            next_step="prepare the missing rows, or change the recipe; counts of published sets need "
            "`data prepare --keep-duplicates`",
        )
    return [Wanted(*item) for item in zip(available, rows, groups, strict=True)]


def _missing(part: Part, have: int, groups: Mapping[str, int]) -> list[str]:
    """What a part's sets lack, whatever the other parts have."""
    problems = []
    if part.expect is not None and have != part.expect:
        problems.append(f"{part.set}: {part.expect:,} rows are expected, {have:,} were found")
    if not have:
        problems.append(f"{part.set}: there are no rows")
    if part.groups is not None and len(groups) != part.groups:
        problems.append(f"{part.set}: {part.groups} values of {part.per} are expected, {len(groups)} were found")
    short = {name: count for name, count in groups.items() if part.rows and count < part.rows and not part.repeat}
    if short:
        listed = describe_names([f"{name or 'without a value'} {count:,}" for name, count in short.items()], 5)
        problems.append(
            f"{part.set}: {part.rows:,} rows of each {part.per} are asked for; fewer are there of {listed}"
        )
    return problems


def _rows(mixture: Mixture, available: Sequence[int], groups: Sequence[Mapping[str, int]]) -> list[int]:
    """Rows of each part, as asked for."""
    rows: list[int] = []
    for part, have, grouped in zip(mixture.parts, available, groups, strict=True):
        if part.rows is not None:
            rows.append(part.rows * len(grouped) if part.per else part.rows)
        elif part.share is not None or part.ratio is not None:
            rows.append(0)  # after the others
        else:
            rows.append(have * (part.times or 1))
    for place, part in enumerate(mixture.parts):
        if part.ratio is not None:
            base = next(rows[other] for other, item in enumerate(mixture.parts) if item.set == part.of)
            rows[place] = round(Fraction(str(part.ratio)) * base)
    shared = [place for place, part in enumerate(mixture.parts) if part.share is not None]
    if shared:
        assert mixture.rows is not None  # the recipe was checked
        shares = [Fraction(str(mixture.parts[place].share)) for place in shared]
        left = max(mixture.rows - sum(rows), 0)
        for place, count in zip(shared, _apportion(left, shares), strict=True):
            rows[place] = count
    return rows


def _apportion(total: int, shares: Sequence[Fraction]) -> list[int]:
    """Whole numbers in proportion to the shares that come to the total: largest remainders, earlier parts first."""
    exact = [total * share / sum(shares) for share in shares]
    rows = [int(value) for value in exact]
    order = sorted(range(len(rows)), key=lambda place: (rows[place] - exact[place], place))
    for place in order[: total - sum(rows)]:
        rows[place] += 1
    return rows
