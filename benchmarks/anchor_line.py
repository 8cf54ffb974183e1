"""Does the anchor point downhill, and how far? General loss along a straight line from the base model.

Two directions: minus the anchor itself (what plain gradient descent would do with it) and minus its sign, entry by
entry (what a constant push becomes under Adam's normalisation, where every weight moves by the same amount). If the
first lowers the general loss, the anchor is right and its sign, too; where the second turns up again is how much total
push per weight a run can stand before the boost does harm. Writes benchmarks/results/anchor_line.json.

    llamafactory-cli train examples/micro/anchor.yaml model_name_or_path=examples/micro/models/micro-base \
        output_dir=runs/anchor_line dba_svd_rank=64
    python benchmarks/anchor_line.py examples/micro/models/micro-base runs/anchor_line
"""

import argparse
import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from llamafactory_dba.anchor.format import load_anchor
from llamafactory_dba.core.lowrank import reconstruct


ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "anchor_line.json"
LENGTHS = (0.003, 0.01, 0.03, 0.1, 0.3)  # of the step along the normalised anchor
PUSHES = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2)  # of every single weight


@torch.no_grad()
def mean_loss(model: torch.nn.Module, samples: list[tuple[torch.Tensor, int]]) -> float:
    """Mean cross-entropy per answer token, in nats."""
    total, count = 0.0, 0
    for tokens, start in samples:
        logits = model(tokens).logits[0, start - 1 : -1]
        total += float(torch.nn.functional.cross_entropy(logits, tokens[0, start:], reduction="sum"))
        count += tokens.shape[1] - start
    return total / count


def tokenize(model: Path, data: Path, rows: int) -> list[tuple[torch.Tensor, int]]:
    """Token ids of prompt and answer in the qwen3_nothink template, and where the answer begins."""
    tokenizer = AutoTokenizer.from_pretrained(model)
    samples = []
    for line in data.read_text(encoding="utf-8").split("\n")[:rows]:
        row = json.loads(line)
        prompt = f"<|im_start|>user\n{row['instruction']}<|im_end|>\n<|im_start|>assistant\n"
        parts = [
            tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, f"{row['output']}<|im_end|>\n")
        ]
        samples.append((torch.tensor([parts[0] + parts[1]]), len(parts[0])))
    return samples


def main() -> None:
    """Walk, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("anchor", type=Path)
    parser.add_argument("--data", type=Path, default=ROOT / "data" / "micro" / "general_test.jsonl")
    parser.add_argument("--rows", type=int, default=400)
    args = parser.parse_args()
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    samples = tokenize(args.model, args.data, args.rows)
    anchor = load_anchor(args.anchor, dtype=torch.float32)
    weights = {name: p for name, p in model.named_parameters() if name in anchor.tensors}
    start = {name: p.detach().clone() for name, p in weights.items()}
    direction = {name: reconstruct(anchor.tensors[name]).reshape(p.shape) for name, p in weights.items()}
    norm = sum(float(d.square().sum()) for d in direction.values()) ** 0.5

    def walk(step: float, unit: dict[str, torch.Tensor]) -> float:
        for name, parameter in weights.items():
            parameter.data = start[name] - step * unit[name]
        return mean_loss(model, samples)

    result = {
        "what": "general loss (nats per answer token) along minus the anchor and along minus its sign",
        "command": f"python benchmarks/anchor_line.py {args.model} {args.anchor}",
        "model": str(args.model),
        "rows": len(samples),
        "data": args.data.name,
        "anchor_norm": norm,
        "half_cosine": anchor.config.half_cosine[-1][1],
        "loss_at_base": walk(0.0, direction),
        "along_anchor": [[s, walk(s / norm, direction)] for s in LENGTHS],
        "along_sign": [[s, walk(s, {name: d.sign() for name, d in direction.items()})] for s in PUSHES],
        "machine": {"processor": platform.machine(), "cores": os.cpu_count(), "torch": version("torch")},
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
