"""The anchor as an artefact: the run that makes it, its folder format, fingerprint, card and tools."""
