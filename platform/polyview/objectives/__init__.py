"""The losses: pure functions of a global batch, and their weighted sum."""
