"""From raw scores to S_D, S_G, S and their mean and spread over seeds."""

from collections.abc import Sequence
from statistics import mean, stdev

from llamafactory_dba.evaluation.scores import joint_score, mean_general


def counted_sets(base: dict) -> list[str]:
    """Return the general sets that can show forgetting: the base model's 95 % interval lies above chance.

    Decided on the base model alone, before any method is looked at. The others are reported, not counted.
    """
    return [name for name, s in base["general"].items() if s["accuracy_ci95"][0] > s["chance"]]


def skill(scores: dict, name: str) -> float:
    """Return how far above chance a set is, as accuracy minus chance."""
    general = scores["general"][name]
    return general["accuracy"] - general["chance"]


def headline(scores: dict, base: dict, sets: Sequence[str]) -> dict[str, float | None]:
    """Return the few numbers that are compared over the counted ``sets``, all in % but the losses.

    ``S_G`` is the mean accuracy over the counted sets; ``kept`` compares it with the base model's, ``kept_skill``
    does so after chance is taken off both, and is None where the base model has next to no skill to keep.
    """
    if not sets:
        raise ValueError("the base model is above chance on no general set: nothing could be forgotten")
    s_d = scores["finance"]["weighted_f1"]
    s_g, base_s_g = (mean_general({n: s["general"][n]["accuracy"] for n in sets}) for s in (scores, base))
    base_skill = mean(skill(base, name) for name in sets)
    return {
        "S_D": s_d,
        "S_G": s_g,
        "S": joint_score(s_d, s_g),
        "kept": 100 * s_g / base_s_g,
        "kept_skill": 100 * mean(skill(scores, name) for name in sets) / base_skill if base_skill >= 5 else None,
        "answer_loss": mean(s["answer_loss"] for s in scores["general"].values()),
        "text_loss": mean(s["loss"] for s in scores["text"].values()),
    }


def spread(values: Sequence[float | None]) -> dict | None:
    """Return mean, sample standard deviation (None for a single value) and n; None for what was not measurable."""
    if not values:
        raise ValueError("no values to average")
    if None in values:
        return None
    return {"mean": mean(values), "std": stdev(values) if len(values) > 1 else None, "n": len(values)}


def summarise(base: dict, runs: Sequence[dict], judge: dict | None = None) -> dict:
    """Return the headline numbers of the base model and, over seeds, of every method.

    Args:
        base: scores of the model that the runs started from.
        runs: records of run.py.
        judge: scores of the model that decides which sets count; the base model where None.
    """
    table, sets = {}, counted_sets(judge or base)
    for name in dict.fromkeys(run["method"] for run in runs):
        mine = [run for run in runs if run["method"] == name]
        rows = [headline(r["scores"], base, sets) | {k: r[k] for k in ("seconds", "peak_rss_mib")} for r in mine]
        table[name] = {key: spread([row[key] for row in rows]) for key in rows[0]}
        if logs := [r["dba_log"] for r in mine if r.get("dba_log")]:
            table[name]["log"] = {key: spread([log[key] for log in logs]) for key in logs[0]}
        table[name] |= {"note": mine[0]["note"], "learning_rate": mine[0]["learning_rate"], "steps": mine[0]["steps"]}
    return {"counted_sets": sets, "base_headline": headline(base, base, sets), "summary": table}
