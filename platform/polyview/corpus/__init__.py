"""Faces in: a dataset's folder becomes a manifest, a manifest's row becomes a mesh."""
