"""Towers from open_clip, a fusion of views, and the model that joins them."""
