"""The package's sentences on two base models (`anchor.differences`), which are English, as messages in five languages.

A sentence that is none of the known ones is shown as it is. No gradio.
"""

from __future__ import annotations

import re

from .problems import Problem


SENTENCES = {
    "dba_misfit_architecture": (
        r"another architecture: the anchor was made for (?P<before>.+), the model is (?P<now>.+)"
    ),
    "dba_misfit_added": (
        r"another vocabulary size: (?P<before>\d+) when the anchor was made, (?P<now>\d+) here "
        r"\(tokens were added or the embedding was padded; (?P<name>.+)\)"
    ),
    "dba_misfit_cut": (
        r"another vocabulary size: (?P<before>\d+) when the anchor was made, (?P<now>\d+) here "
        r"\(the embedding was cut; (?P<name>.+)\)"
    ),
    "dba_misfit_shapes": (
        r"other shapes in (?P<count>\d+) of (?P<total>\d+) tensors, first (?P<name>.+): (?P<before>\[.*\]) in the "
        r"anchor's model, (?P<now>\[.*\]) here"
    ),
    "dba_misfit_missing": r"(?P<count>\d+) tensors missing here: (?P<names>.+)",
    "dba_misfit_only": r"(?P<count>\d+) tensors only here: (?P<names>.+)",
    "dba_misfit_rounded": (
        r"another dtype in (?P<count>\d+) of (?P<total>\d+) tensors, first (?P<name>.+): (?P<before>\S+) in the "
        r"anchor's model, (?P<now>\S+) here; the values agree up to rounding"
    ),
    "dba_misfit_dtype": (
        r"another dtype in (?P<count>\d+) of (?P<total>\d+) tensors, first (?P<name>.+): (?P<before>\S+) in the "
        r"anchor's model, (?P<now>\S+) here"
    ),
    "dba_misfit_partly": (
        r"other values in (?P<count>\d+) of (?P<total>\d+) tensors of the same name and shape "
        r"\(partly the same model\): (?P<names>.+)"
    ),
    "dba_misfit_values": (
        r"other values in (?P<count>\d+) of (?P<total>\d+) tensors of the same name and shape "
        r"\(a fine-tuned sibling or an unrelated model\): (?P<names>.+)"
    ),
}
MORE = re.compile(r" and (\d+) more$")


def in_words(sentence: str) -> Problem:
    """The sentence as a message that can be said in the page's language."""
    for key, form in SENTENCES.items():
        if found := re.fullmatch(form, sentence):
            # "a, b and 7 more" needs no word for it
            return Problem("", key, {name: MORE.sub(r", … (+\1)", text) for name, text in found.groupdict().items()})
    return Problem("", text=sentence)
