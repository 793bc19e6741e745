"""Towers from open_clip, a fusion of views, and the model that joins them.

In: uint8 views (N, V, C, H, W) and tokens. Out: L2-normalised embeddings. Read `model.py` first.
"""
