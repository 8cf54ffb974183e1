"""The ``dba_*`` arguments: names, defaults, help texts (which are the documentation) and how the host gets them.

Imports neither torch nor the host, because `plugin` uses it while the host is being imported.
"""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from .argument_checks import argument_problems, record_problems
from .errors import DBAError
from .methods.registry import GRADIENT_METHODS, HOLDING_METHODS, WITH_CURVATURE, WITHOUT_ANCHOR
from .training.gauge.arguments import gauge_problems, uses_gauge


@dataclass
class DBAArguments:
    """Arguments of Dynamic Boosted Annealing; mixed into LLaMA-Factory's ``FinetuningArguments``."""

    use_dba: bool = field(
        default=False,
        metadata={"help": "Whether or not to train with DBA (needs `dba_anchor_path`, but for `dba_variant: l2sp`)."},
    )
    dba_stage: Literal["train", "anchor"] = field(
        default="train",
        metadata={
            "help": "`train` fine-tunes; `anchor` makes the zero-learning-rate pass over `dataset` and writes it."
        },
    )
    dba_anchor_path: str | None = field(
        default=None,
        metadata={
            "help": "Folder of the anchor, or its hub id: `owner/name` or `owner/name@revision`. An anchor run writes "
            "the folder (default there: `output_dir`)."
        },
    )
    dba_allow_added_tokens: bool = field(
        default=False,
        metadata={
            "help": "Whether or not the model may have tokens that the anchor's base model lacks; their rows are "
            "trained without the anchor."
        },
    )
    dba_boost_magnitude: float = field(
        default=200.0,
        metadata={"help": "GGB: boost weight starts at min(1, this / steps) and fades to 0; 0 switches GGB off."},
    )
    dba_use_correction: bool = field(
        default=True,
        metadata={"help": "Whether or not to scale each step by Dynamic Correction, 1 / (similarity + base)."},
    )
    dba_base_correction: float = field(
        default=0.1,
        metadata={"help": "DC: base correction coefficient; bounds the step's scale by 1 / this (> 0)."},
    )
    dba_variant: str = field(
        default="paper",
        metadata={
            "help": "What is done with the anchor (docs/methods.md). "
            + " ".join(f"`{name}`: {item.summary}." for name, item in {**GRADIENT_METHODS, **HOLDING_METHODS}.items())
            + " All but `paper` use neither `dba_boost_magnitude` nor `dba_use_correction`."
        },
    )
    dba_embedding_lr_ratio: float = field(
        default=1.0,
        metadata={
            "help": "Learning rate of the input and output embeddings as a multiple of `learning_rate`, with any "
            "variant; 0 freezes them."
        },
    )
    dba_pcgrad_weight: float = field(
        default=1.0,
        metadata={
            "help": "PCGrad: weight of the anchor in the sum (>= 0); 0 only projects the domain gradient, as `agem`."
        },
    )
    dba_elastic_strength: float = field(
        default=3.0e2,  # the best of its grid on real text, with the default kind of curvature (docs/results.md)
        metadata={
            "help": "Elastic: strength of the pull per unit of learning rate on a weight of mean curvature; more "
            "keeps more and learns less. The best one goes with the learning rate (docs/elastic.md). 0 only measures."
        },
    )
    dba_elastic_every: int = field(
        default=4,
        metadata={"help": "Elastic: pull back every so many optimizer steps, and after the last one."},
    )
    dba_elastic_base: Literal["device", "host", "none"] = field(
        default="device",
        metadata={
            "help": "Elastic, EWC, L2-SP: where the base weights are kept (2 bytes per parameter of a bf16 model). "
            "`none` is for elastic with Kronecker factors only: directions beyond `dba_curvature_rank` on both sides "
            "are not held then."
        },
    )
    dba_elastic_products: Literal["auto", "float32", "bfloat16"] = field(
        default="auto",
        metadata={
            "help": "Elastic with Kronecker factors: precision of the matrix products of the pull. `auto` is bfloat16 "
            "on a GPU that trains in bf16, else float32."
        },
    )
    dba_ewc_strength: float = field(
        default=1.0e3,
        metadata={"help": "EWC: weight of the penalty beside the clipped domain gradient; 0 only measures."},
    )
    dba_l2sp_strength: float = field(
        default=0.1,
        metadata={"help": "L2-SP: weight of the pull beside the clipped domain gradient; 0 only measures."},
    )
    dba_anchor_curvature: bool = field(
        default=False,
        metadata={
            "help": "Anchor run: whether or not to record the curvature of the general loss for `dba_variant: "
            "elastic` and `ewc`, too. Such a run that makes its own anchor always does."
        },
    )
    dba_curvature_kind: Literal["factored", "diagonal", "kronecker"] = field(
        default="factored",
        metadata={
            "help": "Anchor run: curvature of a matrix as row and column sums (a few MB in all), as one number per "
            "weight, or as Kronecker factors (docs/elastic.md)."
        },
    )
    dba_curvature_rank: int = field(
        default=512,
        metadata={
            "help": "Kronecker factors: eigenvectors kept per side of a matrix; the rest counts by its mean. A "
            "training run may use fewer than the anchor has."
        },
    )
    dba_svd_rank: int = field(
        default=512,
        metadata={"help": "Rank kept per matrix of the anchor; a training run may use fewer than the anchor has."},
    )
    dba_anchor_dataset: str | None = field(
        default=None,
        metadata={
            "help": "General data, named as in dataset_info.json (commas separate several). A training run whose "
            "`dba_anchor_path` does not exist yet makes the anchor from it first."
        },
    )
    dba_anchor_samples: int | None = field(
        default=None,
        metadata={"help": "Use only the first so many samples of each general dataset; all by default."},
    )
    dba_anchor_dtype: Literal["float32", "bfloat16", "int8"] = field(
        default="bfloat16",
        metadata={
            "help": "Type in which the anchor's factors are stored (the mean itself is always float32). int8 halves "
            "the files of bfloat16 for an error of about 1 percent, which is measured and recorded."
        },
    )
    dba_anchor_placement: Literal["auto", "device", "host", "disk"] = field(
        default="auto",
        metadata={
            "help": "Anchor run: where the float32 mean (4 bytes per parameter) is kept; `auto` takes the first that "
            "has room and says which."
        },
    )
    dba_anchor_check_steps: int = field(
        default=50,
        metadata={"help": "Anchor run: every so many steps, report the cosine between the means of two data halves."},
    )
    dba_anchor_stop_cosine: float | None = field(
        default=None,
        metadata={
            "help": "Anchor run: stop early once that cosine is above this (0 to 1); never by default. 0.68 means a "
            "cosine of about 0.9 to the gradient of endless data (docs/anchor-data.md)."
        },
    )
    dba_anchor_save_steps: int = field(
        default=500,
        metadata={"help": "Anchor run: save the state every so many steps, so that an interrupted run resumes."},
    )
    dba_record: bool | None = field(
        default=None,
        metadata={
            "help": "Whether or not to write `run_record.json`: method, settings, data hashes and what the training "
            "cost. By default a run with `use_dba` does; `true` records any other fine-tuning, too."
        },
    )
    dba_layer_log_steps: int | None = field(
        default=None,
        metadata={
            "help": "Every so many steps, write the similarity of each tensor to `dba_layers.jsonl`; by default at "
            "most 100 times in a run, 0 switches it off."
        },
    )
    dba_gauge_steps: int = field(
        default=0,
        metadata={
            "help": "Live gauge: every so many optimizer steps, at step 0 and at the end, measure what was kept and "
            "learned into dba_gauge.jsonl; works with and without `use_dba`. 0 is off."
        },
    )
    dba_gauge_dataset: str | None = field(
        default=None,
        metadata={
            "help": "Gauge: held-out general data, named as in dataset_info.json (commas separate several). Without "
            "it, the KL divergence from the base model on training rows is measured."
        },
    )
    dba_gauge_domain_dataset: str | None = field(
        default=None,
        metadata={
            "help": "Gauge: held-out domain data, named likewise; by default the rows of `eval_dataset` or `val_size`."
        },
    )
    dba_gauge_samples: int = field(
        default=128,
        metadata={"help": "Gauge: measure so many rows of each set, the same ones throughout and in every run."},
    )
    dba_gauge_score: Literal["exact", "token"] = field(
        default="exact",
        metadata={
            "help": "Gauge: S is made of the share of rows whose whole answer is right (`exact`), or of the share of "
            "answer tokens (`token`, for long answers)."
        },
    )
    dba_gauge_patience: int = field(
        default=0,
        metadata={
            "help": "Gauge: end the training after so many measurements without a new best S (general loss where "
            "there are no domain rows); 0 never does."
        },
    )
    dba_gauge_keep_best: bool = field(
        default=False,
        metadata={"help": "Gauge: whether or not to keep the weights with the best S in `output_dir`/best."},
    )

    @property
    def is_dba_run(self) -> bool:
        """Whether this run has anything to do with DBA."""
        return self.use_dba or self.dba_stage == "anchor"

    @property
    def needs_anchor(self) -> bool:
        """Whether a training reads an anchor."""
        return self.use_dba and self.dba_variant not in WITHOUT_ANCHOR

    @property
    def makes_curvature(self) -> bool:
        """Whether an anchor that this run makes gets a curvature, too."""
        return self.dba_anchor_curvature or (self.use_dba and self.dba_variant in WITH_CURVATURE)

    @property
    def writes_record(self) -> bool:
        """Whether this run writes run_record.json; an anchor says what it is itself."""
        if self.dba_stage == "anchor":
            return False
        return self.use_dba if self.dba_record is None else self.dba_record


def extend(base: type) -> type:
    """Subclass the host's ``FinetuningArguments`` with the DBA fields and checks.

    The new class takes the host's name and module, so that it pickles (Ray) and prints as before.
    """

    def __post_init__(self: Any) -> None:
        base.__post_init__(self)  # type: ignore[attr-defined]
        if not self.is_dba_run and not uses_gauge(self) and not self.dba_record:
            return
        from .plugin import host_version, unextended, unsupported_host

        expected, missing = unsupported_host(), unextended()
        if expected is not None or missing:
            raise DBAError(
                "This version of llamafactory-dba does not fit this version of LLaMA-Factory.",
                expected=expected or "a host whose modules could all be extended",
                found=f"llamafactory {host_version()}" + "".join(f"; not extended: {item}" for item in missing),
                next_step="install a matching pair (see README), or remove the dba_* arguments to train without DBA",
            )
        problems = (argument_problems(self) if self.is_dba_run else []) + gauge_problems(self) + record_problems(self)
        if problems:
            raise DBAError("The DBA arguments cannot be used:\n" + "\n".join(f"  - {text}" for text in problems))

    namespace = {
        "__post_init__": __post_init__,
        "__module__": base.__module__,
        "__doc__": base.__doc__,
        "__dba__": True,
    }
    extended: type = dataclass(type(base.__name__, (base, DBAArguments), namespace))
    extended.__qualname__ = base.__qualname__
    return extended


def argument_names() -> list[str]:
    """Names of all DBA arguments."""
    return [item.name for item in dataclasses.fields(DBAArguments)]


def explain_unknown_keys(parse: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap the host's ``_parse_args`` so that a mistyped DBA key is answered with the nearest one."""

    def _parse_args(*args: Any, **kwargs: Any) -> Any:
        try:
            return parse(*args, **kwargs)
        except DBAError:
            raise
        except ValueError as error:
            if "not used by the HfArgumentParser" not in str(error):
                raise
            hints = []
            for key in dict.fromkeys(re.findall(r"'-{0,2}([a-zA-Z_]\w*)'", str(error))):
                if "dba" in key.lower() or "anchor" in key.lower():
                    close = difflib.get_close_matches(key.lower(), argument_names(), n=1, cutoff=0.6)
                    hints.append(f"`{key}`: did you mean `{close[0]}`?" if close else f"`{key}` is unknown.")
            if not hints:
                raise
            raise DBAError(
                str(error).strip(), expected=", ".join(argument_names()), next_step=" ".join(hints)
            ) from error

    _parse_args.__dba__ = True  # type: ignore[attr-defined]
    return _parse_args


def markdown_table() -> str:
    """The table of arguments in README.md, generated from the fields above."""
    lines = ["| argument | default | what it does |", "|---|---|---|"]
    for item in dataclasses.fields(DBAArguments):
        default: object = item.default
        if default is None or isinstance(default, bool):
            default = {None: "–", True: "true", False: "false"}[default]
        elif isinstance(default, float) and default.is_integer():
            default = int(default)
        lines.append(f"| `{item.name}` | {default} | {item.metadata['help']} |")
    return "\n".join(lines)
