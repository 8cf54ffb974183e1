"""What a probe may say: the sentences of its notes and its advice."""

from ..methods.paper import WARNINGS


NOTES = {
    "no_dba": "the recipe does not set `use_dba: true`: its training would not use this anchor",
    "few": "{wanted} batches were asked for; one pass over the data, or the whole training, has {seen}",
    "overflowed": "{skipped} steps overflowed in fp16 and are left out, as in a training",
    "unmatched": "the anchor has nothing for {count} of the tensors that are trained: {names}",
    "no_rates": "the learning rates of this scheduler depend on the run, so no effective rate is predicted",
    "no_correction": "the recipe has `dba_use_correction: false`: λ is what the correction would be",
}
ADVICE = {
    "constant": "λ hardly varies ({mean} ± {std}, {below} below its bound 1/λ_0 = {bound}): at the base model the "
    "correction acts as a plain learning-rate factor of {mean}.",
    "moving": "λ = {mean} holds at the base model only. Where s began this high it fell within the first quarter of "
    "the training in our measurements (docs/probe.md), and λ rose towards its bound: choose a learning rate that is "
    "safe {bound} times over.",
    "unclear": "The mean domain gradient has no clear component along the anchor (signed cosine {cosine} ± {error}).",
    "noisy": "The anchor is mostly noise, so the sign of the signed cosine {cosine} ± {error} says little about the "
    "general loss.",
    "against": "The mean domain gradient points against the anchor (signed cosine {cosine} ± {error}): to first "
    "order, a plain gradient step on the domain raises the general loss.",
    "along": "The mean domain gradient points the anchor's way (signed cosine {cosine} ± {error}): to first order, a "
    "plain gradient step on the domain lowers the general loss, too.",
    "scattered": "The means of two halves of the probed batches have a cosine of {cosine} only: the mean domain "
    "gradient is mostly noise, probe more batches.",
}
FORMS = {**NOTES, **ADVICE, **WARNINGS}
