"""Meshes to views: cameras, two backends that draw alike, the store of views, and the pipeline that fills it."""
