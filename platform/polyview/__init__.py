"""polyview: which loss, how many views, which prompts earned how much, on 3D and 4D faces."""

__version__ = "0.1.0"
