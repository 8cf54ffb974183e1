"""Dynamic Boosted Annealing for LLaMA-Factory.

Kept free of heavy imports: torch loads this package while torch itself is being imported (see `autoload`).
"""

__version__ = "0.1.0"
