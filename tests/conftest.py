"""Fixtures shared by all tests."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import support


os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")


@pytest.fixture(autouse=True)
def _own_environment() -> Iterator[None]:
    """Commands that a test calls in this process make the host quiet; the next test's children must not be."""
    before = dict(os.environ)
    yield
    for name in set(os.environ) - set(before) - {"PYTEST_CURRENT_TEST"}:
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny model, data, and the model's anchor."""
    folder = tmp_path_factory.mktemp("world")
    support.build_model(folder / "model")
    support.build_data(folder / "data")
    support.run_here(
        support.arguments(
            folder,
            folder / "anchor",
            use_dba=None,
            do_train=None,
            dba_stage="anchor",
            dataset="general",
            dba_anchor_dtype="float32",
        )
    )
    return folder
