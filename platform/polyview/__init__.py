"""polyview: which loss, how many views, which prompts earned how much, on 3D and 4D faces."""

import atexit
import gc

__version__ = "0.1.0"

# Imports make half a million objects that stay. To look them through time and again takes a quarter of a process's
# start, and at its end a second more.
gc.set_threshold(10_000)
atexit.register(gc.freeze)
