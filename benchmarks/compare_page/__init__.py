"""The page docs/results.md, from the compare.json files in benchmarks/results."""
