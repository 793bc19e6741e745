"""Meshes to views: cameras, two backends that draw alike, the store of views, and the pipeline that fills it.

In: a `Manifest` and a `Rendering`. Out: a `ViewStore` of uint8 views. Read `pipeline.py` first, then `store.py`.
"""
