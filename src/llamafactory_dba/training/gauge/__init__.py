"""The live forgetting gauge: a few general and domain rows, measured while a model trains."""
