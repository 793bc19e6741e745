"""Pretraining: batches, the loop in plain torch, checkpoints, and Ray Train around them for several workers."""
