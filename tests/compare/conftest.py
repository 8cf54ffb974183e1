"""Suites name models and data relative to the repository's root, as its users do."""

import pytest

from tests.compare.worlds import ROOT


@pytest.fixture(autouse=True)
def at_root(monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LLAMAFACTORY_DBA_CACHE", str(tmp_path / "cache"))
