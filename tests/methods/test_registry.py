"""Every method of the registry is complete, documented, and known to the arguments."""

import dataclasses
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from llamafactory_dba.arguments import DBAArguments
from llamafactory_dba.methods.registry import GRADIENT_METHODS, VARIANTS, load_method, variant_problem


ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", GRADIENT_METHODS)
def test_every_method_describes_itself(name):
    method, arguments = load_method(name), DBAArguments(dba_variant=name)
    assert set(method.facts(arguments, 10)) >= {"total_steps"}
    assert method.describe(arguments, 10)
    config = SimpleNamespace(half_cosine=((5, 0.99),))
    assert len(method.warnings(arguments, config, 10)) == (name == "paper"), "k0 = 1 in so short a run"
    assert all(key.startswith("dba_") for key in method.metrics)
    text = (ROOT / "src" / "llamafactory_dba" / "methods" / f"{GRADIENT_METHODS[name].module}.py").read_text()
    assert "arXiv" in text, "its paper"
    assert "Limits" in text


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_in_the_documents_and_the_help(name):
    assert f"`dba_variant: {name}`" in (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    help_text = next(item for item in dataclasses.fields(DBAArguments) if item.name == "dba_variant").metadata["help"]
    assert f"`{name}`" in help_text
    assert variant_problem(name) is None


@pytest.mark.parametrize(
    ("found", "nearest"),
    [("pc_grad", "pcgrad"), ("AGEM", "agem"), ("gradnorm", "gradnorm_equal"), ("elastik", "elastic")],
)
def test_the_nearest_name_is_offered(found, nearest):
    assert f"Did you mean `{nearest}`?" in variant_problem(found)


def test_nothing_near_lists_them_all():
    problem = variant_problem("xyz")
    assert "Did you mean" not in problem
    assert all(f"`{name}`" in problem for name in VARIANTS)


def test_the_registry_needs_neither_torch_nor_the_host():
    """It is read while torch and the host are being imported."""
    code = (
        "import sys; import llamafactory_dba.methods.registry; "
        "assert not {'torch', 'llamafactory', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
