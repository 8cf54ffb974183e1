"""The entry point that torch calls while it is being imported (group ``torch.backends``).

torch turns any exception raised here into a failing ``import torch`` for the whole machine, and the host's package is
half-initialised at this moment. So: import neither torch nor llamafactory, never raise, and stay far below 2 ms.
"""

import os


DISABLE_VARIABLE = "DBA_DISABLE"


def is_disabled() -> bool:
    """Whether the user switched the extension off with ``DBA_DISABLE=1`` (also ``true``, ``y``, ``yes``, ``on``)."""
    return os.environ.get(DISABLE_VARIABLE, "0").strip().lower() in ("1", "true", "y", "yes", "on")


def register() -> None:
    """Install the import hooks of `plugin`; idempotent, silent unless something is wrong."""
    if is_disabled():
        return
    try:
        from . import plugin

        plugin.install()
    except Exception as error:  # torch must stay importable whatever happens here
        import warnings

        warnings.warn(f"llamafactory-dba is not active: {type(error).__name__}: {error}", stacklevel=2)
