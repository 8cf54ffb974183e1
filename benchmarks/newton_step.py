"""What the anchor's first order can add to its second: general skill after one Newton step from the base model.

The anchor has both a gradient g and a curvature F of the general loss, so that its own model of that loss has its
minimum at W0 - (F + d)^-1 g. `elastic` holds the weights at W0; if general skill were higher on the way to that
minimum, holding them there would be better still, at no cost in training. The step is scaled by the gain that it
promises at first order, in nats per sequence, and measured: loss per answer token without the line feed behind the
answer (which the gradient of a base model that never saw the template is mostly about), loss of that line feed, and
exact answers. Writes benchmarks/results/newton_step.json.

    llamafactory-cli train examples/micro/anchor_curvature.yaml model_name_or_path=examples/micro/models/micro-base \
        output_dir=runs/newton/micro-base-factored dba_curvature_kind=factored
    (likewise for kronecker and for micro-instruct: folders BASE-KIND)
    python benchmarks/newton_step.py runs/newton/*
"""

import argparse
from pathlib import Path
from typing import Any

import torch
from measure import RESULTS, command, machine, write
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamafactory_dba.anchor.curvature import TensorCurvature, load_curvature, mean_curvature
from llamafactory_dba.anchor.format import load_anchor
from llamafactory_dba.core.fisher import Product
from llamafactory_dba.core.lowrank import reconstruct
from llamafactory_dba.core.moments import Spectrum
from llamafactory_dba.evaluation.micro import generate_answers, read_rows, score_answers


ROOT = Path(__file__).resolve().parents[1]
DATA = ROOT / "data" / "micro" / "general_test.jsonl"
GAINS = (0.01, 0.03, 0.1, 0.2, 0.4)  # promised at first order, nats per sequence
DAMPINGS = (0.01, 0.1, 1.0)  # d, in units of the mean curvature
TOLERANCE, ROUNDS = 1e-10, 200  # of the conjugate gradients, relative squared residual


def multiply(curvature: TensorCurvature, matrix: Tensor) -> Tensor:
    """F vec(M), in M's shape."""
    if curvature.diagonal is not None:
        diagonal = curvature.diagonal
        whole = torch.outer(diagonal.rows, diagonal.columns) if isinstance(diagonal, Product) else diagonal
        return whole.float() * matrix
    return torch.stack([_side(term.columns, _side(term.rows, matrix).T).T for term in curvature.terms]).sum(0)


def _side(side: Spectrum, matrix: Tensor) -> Tensor:
    """One Kronecker factor times a matrix, from the left."""
    values = side.values.float().unsqueeze(1)
    if side.vectors is None:
        return values * matrix
    vectors = side.vectors.float()
    inside = vectors.T @ matrix
    return vectors @ (values * inside) + side.rest * (matrix - vectors @ inside)


def solve(curvature: TensorCurvature, gradient: Tensor, damping: float) -> Tensor:
    """(F + d)^-1 g by conjugate gradients."""
    found, residual = torch.zeros_like(gradient), gradient.clone()
    search, square = residual.clone(), residual.square().sum()
    limit = TOLERANCE * square
    for _ in range(ROUNDS):
        if square <= limit:
            break
        product = multiply(curvature, search) + damping * search
        length = square / (search * product).sum()
        found, residual = found + length * search, residual - length * product
        before, square = square, residual.square().sum()
        search = residual + square / before * search
    return found


@torch.no_grad()
def losses(model: Any, tokenizer: Any, rows: list[Any]) -> tuple[float, float]:
    """Nats per answer token with the end mark, and nats of the line feed behind it."""
    sums, counts = [0.0, 0.0], [0, 0]
    for row in rows:
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": row.prompt}], tokenize=False, add_generation_prompt=True
        )
        parts = [
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, f"{row.answer}<|im_end|>\n")
        ]
        tokens, start = torch.tensor([parts[0] + parts[1]]), len(parts[0])
        each = torch.nn.functional.cross_entropy(
            model(tokens).logits[0, start - 1 : -1], tokens[0, start:], reduction="none"
        )
        for place, values in enumerate((each[:-1], each[-1:])):
            sums[place] += float(values.sum())
            counts[place] += len(values)
    return sums[0] / counts[0], sums[1] / counts[1]


def measure(model: Any, tokenizer: Any, rows: list[Any], loss_rows: int) -> dict[str, Any]:
    """Losses and scores of the model as it is."""
    scores = score_answers(rows, generate_answers(model, tokenizer, [row.prompt for row in rows]))
    accuracies = {name: round(score.accuracy, 2) for name, score in scores.items()}
    answer, line_feed = losses(model, tokenizer, rows[:: max(1, len(rows) // loss_rows)])
    s_g = sum(accuracies.values()) / len(accuracies)
    return {"s_g": round(s_g, 2), "answer_loss": round(answer, 4), "line_feed_loss": round(line_feed, 4), **accuracies}


def walk(folder: Path, loss_rows: int) -> dict[str, Any]:
    """All steps from one anchor's base model."""
    anchor = load_anchor(folder, dtype=torch.float32)
    config = anchor.config
    curvature = load_curvature(folder, config, config.tensors)
    place = ROOT / "examples" / "micro" / "models" / folder.name.rsplit("-", 1)[0]
    tokenizer = AutoTokenizer.from_pretrained(place)
    model = AutoModelForCausalLM.from_pretrained(place, dtype=torch.float32).eval()
    weights = {name: item for name, item in model.named_parameters() if name in curvature}
    start = {name: item.detach().clone() for name, item in weights.items()}
    gradient = {name: reconstruct(anchor.tensors[name]).reshape(start[name].shape) for name in weights}
    rows, mean = read_rows(DATA), mean_curvature(folder, config)
    steps = []
    for damping in DAMPINGS:
        step = {name: solve(curvature[name], gradient[name], damping * mean) for name in weights}
        promised = sum(float((step[name] * gradient[name]).sum()) for name in weights)
        length = sum(float(item.square().sum()) for item in step.values()) ** 0.5
        for gain in GAINS:
            for name, weight in weights.items():
                weight.data = start[name] - gain / promised * step[name]
            found = measure(model, tokenizer, rows, loss_rows)
            steps.append({"damping": damping, "gain": gain, "length": round(gain / promised * length, 4), **found})
            print(folder.name, steps[-1], flush=True)
    for name, weight in weights.items():
        weight.data = start[name]
    base = measure(model, tokenizer, rows, loss_rows)
    best = max(steps, key=lambda item: item["s_g"])
    return {
        "anchor": folder.name,
        "base": base,
        "best_gain_in_s_g": round(best["s_g"] - base["s_g"], 2),
        "steps": steps,
    }


def main() -> None:
    """Walk, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("anchors", type=Path, nargs="+", help="folders named BASE-KIND")
    parser.add_argument("--loss-rows", type=int, default=240)
    parser.add_argument("--out", type=Path, default=RESULTS / "newton_step.json")
    args = parser.parse_args()
    result = {
        "what": "general skill after a step (F + d)^-1 g from the base model, by the gain promised at first order",
        "command": command(),
        "data": DATA.name,
        "damping_unit": "mean curvature",
        "anchors": [walk(folder, args.loss_rows) for folder in args.anchors],
        **machine(packages=("llamafactory-dba", "torch", "transformers")),
    }
    write(result, args.out)


if __name__ == "__main__":
    main()
