"""Where things are: the repository, the real data folder, the cache outside git."""

import os
from pathlib import Path


REPO = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
RESULTS = REPO / "benchmarks" / "results"
DEFAULT_CACHE = REPO / "cache" / "real_small"


def data_root() -> Path:
    """Return the folder with the real data: env ``DBA_REAL_DATA``, else ``../shared/data`` beside the repository."""
    return Path(os.environ.get("DBA_REAL_DATA") or REPO.parent / "shared" / "data")


def data_missing() -> str | None:
    """Return a reason to skip where the real data is absent, else None."""
    root = data_root()
    wanted = root / "finance_sentiment" / "tfns_test.json"
    return None if wanted.is_file() else f"real data not found: no {wanted}; set DBA_REAL_DATA"
