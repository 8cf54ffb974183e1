"""The real-data comparison on one small machine: a small base model, TFNS finance tweets, general held-out sets."""
