"""Where things are kept: one home, in a folder of this machine or in a bucket that a folder mirrors.

In: paths and URLs. Out: files that are written whole or not at all, and locks. Read `home.py` first.
"""
