"""Where things are kept: one home, which is a folder of this machine, or a bucket with a local folder as its mirror.

In: paths and URLs. Out: files that are written whole or not at all, and locks. Read `home.py` first.
"""
