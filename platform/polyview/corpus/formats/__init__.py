"""Readers of mesh files: each takes a file's bytes to a `Mesh`, or says in a `MeshError` why it cannot."""
