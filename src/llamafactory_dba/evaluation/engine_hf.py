"""lm-eval's Hugging Face model, made to take token ids, to say which answers ended, and to write them greedily."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import torch
from lm_eval.models.huggingface import HFLM
from transformers import GenerationConfig

from ..errors import DBAError
from .engine import Observed, Rendered
from .prompting import Prompting


LARGEST_BATCH = 128
LOGITS_BYTES = 1 << 30  # of one batch on a CPU, where nothing says that memory runs out


class AnswerHFLM(HFLM):
    """`HFLM` as `engine.AnswerModel`.

    Args:
        folder: of the model.
        prompting: its tokenizer and what ends an answer.
        adapter: folder of a LoRA adapter.
        device: such as ``cpu`` or ``cuda:0``.
        dtype: such as ``float32``.
        batch_size: a number, or ``auto``: what fits into the device's memory, found out by lm-eval; on a CPU up to
            128 sequences whose logits fit into 1 GiB.
    """

    def __init__(
        self,
        folder: Path,
        prompting: Prompting,
        *,
        adapter: Path | None,
        device: str,
        dtype: str,
        batch_size: str,
        trust_remote_code: bool = False,
    ) -> None:
        self.observed = Observed()
        self.stop_ids = prompting.stop_ids
        self.device_name = device
        self._longest = 1
        self._sized = batch_size == "auto" and device == "cpu"
        super().__init__(
            pretrained=str(folder),
            tokenizer=prompting.tokenizer,
            device=device,
            dtype=dtype,
            batch_size=1 if self._sized else batch_size,
            max_batch_size=LARGEST_BATCH,
            trust_remote_code=trust_remote_code,
        )
        if adapter is not None:
            # not by HFLM's own `peft`: it cuts the embedding to the tokenizer's size, which adapters with a trained
            # embedding do not fit any more
            from peft import PeftModel

            self._model: Any = PeftModel.from_pretrained(self.model, str(adapter)).eval()
        # `generate` fills in what we do not set from the model's own file: sampling, penalties
        self.model.generation_config = GenerationConfig()

    def expect(self, tokens: int) -> None:
        """Choose the batch size on a CPU; elsewhere lm-eval tries this length."""
        self._longest = tokens
        if self._sized:
            fits = LOGITS_BYTES // (4 * tokens * self.model.get_input_embeddings().weight.shape[0])
            self.batch_size_per_gpu = max(1, min(LARGEST_BATCH, fits))

    def count(self, text: str) -> int:
        """Tokens of a plain text."""
        return len(self.tok_encode(text))

    def _detect_batch_size(self, requests: Any = None, pos: int = 0) -> int:
        """For the longest sequence of the task; lm-eval would try the model's whole context for generation."""
        return super()._detect_batch_size(requests or [("", [0] * self._longest, [0])], pos)

    def generate_until(self, requests: Any, disable_tqdm: bool = False) -> list[str]:
        """Without a progress bar in a log file."""
        return super().generate_until(requests, disable_tqdm or not sys.stderr.isatty())

    def loglikelihood(self, requests: Any, disable_tqdm: bool = False) -> list[tuple[float, bool]]:
        """Without a progress bar in a log file."""
        return super().loglikelihood(requests, disable_tqdm or not sys.stderr.isatty())

    def tok_encode(self, string: str, *args: Any, **kwargs: Any) -> list[int]:
        """The token ids of a prompt, or those that lm-eval makes of a plain text."""
        if isinstance(string, Rendered):
            return list(string.ids)
        return super().tok_encode(string, *args, **kwargs)

    def tok_batch_encode(
        self, strings: Any, padding_side: str = "left", left_truncate_len: int | None = None, truncation: bool = False
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """A batch of prompts, padded on the left; what is too long loses its beginning, and is noted."""
        self._batch: tuple[Rendered, ...] = tuple(strings)
        rows = [list(prompt.ids) for prompt in self._batch]
        if left_truncate_len is not None:
            self.observed.shortened |= {p.place for p in self._batch if len(p.ids) > left_truncate_len}
            rows = [row[-left_truncate_len:] for row in rows]
        width, pad = max(map(len, rows)), self.tokenizer.pad_token_id
        tokens = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
        return tokens, mask

    def _model_generate(self, context: torch.Tensor, max_length: int, stop: list[str], **kwargs: Any) -> torch.Tensor:
        """Greedy; a row ends at a token, not at a text that would have to be decoded at every step."""
        with torch.inference_mode():
            output = self.model.generate(
                input_ids=context,
                attention_mask=kwargs["attention_mask"],
                max_new_tokens=max_length - context.shape[1],
                do_sample=False,
                eos_token_id=list(self.stop_ids),
                pad_token_id=self.tokenizer.pad_token_id,
                use_cache=True,
            )
        for prompt, row in zip(self._batch, output[:, context.shape[1] :].tolist(), strict=True):
            self.observed.ended[prompt.place] = any(token in self.stop_ids for token in row)
        return output

    def tok_decode(self, tokens: Any, skip_special_tokens: bool = True) -> str:
        """An answer up to its end mark. Other special tokens stay: an answer that holds them is another answer."""
        if isinstance(tokens, list):
            end = next((place for place, token in enumerate(tokens) if token in self.stop_ids), None)
            return self.tokenizer.decode(tokens[:end], skip_special_tokens=False)
        return super().tok_decode(tokens, skip_special_tokens=skip_special_tokens)


def load_hf(
    folder: Path,
    prompting: Prompting,
    *,
    adapter: Path | None,
    device: str,
    dtype: str,
    batch_size: str,
    trust_remote_code: bool = False,
) -> AnswerHFLM:
    """Load a model. Arguments as of `AnswerHFLM`.

    Raises:
        DBAError: it cannot be loaded, or the tokenizer has more tokens than the model.
    """
    try:
        model = AnswerHFLM(
            folder,
            prompting,
            adapter=adapter,
            device=device,
            dtype=dtype,
            batch_size=batch_size,
            trust_remote_code=trust_remote_code,
        )
    except (OSError, ValueError, ImportError, RuntimeError, KeyError) as error:
        raise DBAError(
            "The model cannot be loaded.",
            found=f"{folder}" + (f" with {adapter}" if adapter else "") + f": {str(error)[:500]}",
            next_step="see whether `llamafactory-cli chat` loads it; a model with code of its own needs "
            "--trust-remote-code",
        ) from error
    return model
