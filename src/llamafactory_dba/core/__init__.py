"""The method as pure functions on tensors: README.md maps equations and symbols to them."""
