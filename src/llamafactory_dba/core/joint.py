"""Eqs. 13-14: one number for what was learned and what was kept."""


def joint_score(domain: float, general: float) -> float:
    """Harmonic mean of the domain score and the general score, S = 2 S_D S_G / (S_D + S_G).

    Args:
        domain: S_D in %.
        general: S_G in %.

    Returns:
        S in %; 0 where both are 0, the limit of the formula.
    """
    return 2.0 * domain * general / (domain + general) if domain + general > 0.0 else 0.0
