"""The joint score of eqs. 13-14 and the mean behind it. Inputs and results are percentages from 0 to 100."""

from collections.abc import Mapping

from llamafactory_dba.core import joint
from llamafactory_dba.errors import DBAError


def mean_general(scores: Mapping[str, float]) -> float:
    """Mean score over the general tasks, S_G.

    Args:
        scores: One percentage per general task.

    Returns:
        Their plain mean, in %.

    Raises:
        DBAError: There is no task to average: "not measured" must never look like 0.
    """
    if not scores:
        raise DBAError("no general score to average", expected="at least one general task", found="none")

    return sum(_percentage(name, value) for name, value in scores.items()) / len(scores)


def joint_score(domain: float, general: float) -> float:
    """Harmonic mean of the domain score and the general score, S = 2 S_D S_G / (S_D + S_G).

    Args:
        domain: S_D in %.
        general: S_G in %, the mean over the general tasks.

    Returns:
        S in %; 0 where both are 0, the limit of the formula.
    """
    s_d, s_g = _percentage("domain", domain), _percentage("general", general)
    return joint.joint_score(s_d, s_g)


def accuracy(right: int, total: int) -> float:
    """Share of right answers in %.

    Raises:
        DBAError: Nothing was asked, so there is no accuracy (0 would be a claim).
    """
    if total <= 0 or not 0 <= right <= total:
        raise DBAError("no accuracy", expected="0 <= right <= total and total > 0", found=f"{right} of {total}")

    return 100.0 * right / total


def _percentage(name: str, value: float) -> float:
    if not 0.0 <= value <= 100.0:  # NaN fails this too
        raise DBAError(f"score {name!r} is no percentage", expected="0 to 100", found=value)

    return value
