"""Pretraining: batches, the loop in plain torch, checkpoints, and Ray Train around them for several workers.

In: a recipe, a `ViewStore` and the training subjects. Out: a `Checkpoint` per epoch. Read `loop.py` first.
"""
