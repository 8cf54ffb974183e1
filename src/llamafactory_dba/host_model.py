"""The host's loading of models and tokenizers, from a module that may be imported first of all.

``llamafactory.extras.packages`` corrects how transformers tells trl which packages are installed, but
``llamafactory.model`` imports trl before it. In a process whose first import of the host is that one, trl takes every
optional package for installed, and DPO fails with "No module named 'mergekit'" (trl 0.24, transformers 5.6).
"""

import llamafactory.extras.packages  # noqa: F401  first, and for its effect
from llamafactory.model import load_config, load_model, load_tokenizer


__all__ = ["load_config", "load_model", "load_tokenizer"]
