"""Called by torch when it is imported; wired up in plugin.py."""


def register() -> None:
    """Placeholder until the plugin lands."""
