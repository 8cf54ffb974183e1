"""Text with keys: filled in, or an error that names line and nearest key."""

import pytest

from benchmarks.compare_page.page import page
from benchmarks.compare_page.template import Measured, render, typed_figures
from llamafactory_dba.errors import DBAError


FACTS = {
    "micro.micro-base.elastic.S": Measured(49.321, 0.838),
    "micro.micro-base.elastic.delta": Measured(30.46, 3.83, signed=True),
    "micro.micro-base.elastic.n": 12,
    "micro.micro-base.elastic.delta.mean": 30.456,
    "micro.micro-base.one.S": Measured(49.321, None),
    "micro.micro-base.wise_ft [alpha=0.2].S": Measured(7.886, 0.271),
    "micro.all.best_mix.label": "mix_1_1",
    "micro.micro-base.rslora.S": None,
    "real_small.base.direct.S": Measured(40.0, 1.0),
    "micro.base.direct.S": Measured(50.0, 1.0),
}


@pytest.mark.parametrize(
    "place, text",
    [
        ("{{ micro.micro-base.elastic.S }}", "49.32 ± 0.84"),
        ("{{micro-base.elastic.S|.1f}}", "49.3 ± 0.8"),
        ("{{ micro-base.elastic.delta }}", "+30.46 ± 3.83"),
        ("{{ micro-base.elastic.delta | +.1f }}", "+30.5 ± 3.8"),
        ("{{ micro-base.elastic.delta.mean | .0f }}", "30"),
        ("{{ micro-base.elastic.n }}", "12"),
        ("{{ micro-base.one.S }}", "49.32"),
        ("{{ micro-base.wise_ft\n[alpha=0.2].S }}", "7.89 ± 0.27"),
        ("{{ all.best_mix.label }}", "mix_1_1"),
    ],
)
def test_values(place, text):
    assert render(f"S {place}, so", FACTS) == f"S {text}, so"


@pytest.mark.parametrize(
    "place, message",
    [
        ("{{ micro.micro-base.elastik.S }}", r"line 2: .*no such key, perhaps `micro\.micro-base\.elastic\.S`"),
        ("{{ micro-bas.elastic.n }}", r"perhaps `micro-base\.elastic\.n`"),
        ("{{ micro-base.rslora.S }}", "was not measured"),
        ("{{ base.direct.S }}", r"which of `real_small\.base\.direct\.S`, `micro\.base\.direct\.S`"),
        ("{{ all.best_mix.label | .1f }}", r"the format `\.1f` does not fit"),
        ("{{ micro-base.elastic.S", "`{{` that does not belong"),
    ],
)
def test_what_is_wrong_is_said(place, message):
    with pytest.raises(DBAError, match=message):
        render(f"first line\n{place}", FACTS)


def test_all_problems_together():
    with pytest.raises(DBAError) as error:
        render("{{ nothing.like.it }}\n{{ micro-base.rslora.S }}", FACTS)
    assert "line 1" in str(error.value) and "line 2" in str(error.value)


def test_figures_typed_by_hand_are_found():
    text = (
        "S rose to 49.3.\n{{ a.b | .1f }}, `0.5`, [x](a1.5.md), arXiv 2509.26242, 33 %, version 1.2.3\n1e-3 to 7.25 %"
    )
    assert typed_figures(text) == ["line 1: 49.3", "line 3: 7.25"]
    with pytest.raises(DBAError, match="Figures stand in the template itself"):
        page(text, FACTS)


def test_comments_are_notes_to_the_writer():
    text = page("# Title\n<!-- say {{ what.ever }}, perhaps 3.5 -->\nn = {{ micro-base.elastic.n }}\n", FACTS)
    assert text.endswith("# Title\nn = 12\n")
    assert "what.ever" not in text
