"""The DBA tab of LLaMA Board. `seam` joins it to the host; modules without gradio hold the logic (docs/board.md)."""
