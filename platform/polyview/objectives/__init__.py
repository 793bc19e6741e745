"""The losses: pure functions of a global batch, and their weighted sum.

In: L2-normalised embeddings of a global batch. Out: a scalar, and each term by name. Read `objective.py` first.
"""
