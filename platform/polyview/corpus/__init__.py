"""Faces: a dataset's folder becomes a manifest, and a row of the manifest becomes a mesh.

In: mesh files, or the generator's parameters. Out: `Manifest` and `Mesh`. Read `scan.py` first, then `manifest.py`.
"""
