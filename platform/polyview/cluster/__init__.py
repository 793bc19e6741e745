"""Machines: what one can do, and how work gets onto many."""
