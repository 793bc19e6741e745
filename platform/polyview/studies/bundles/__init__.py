"""A study as one file that others read and run again.

In: a `Study` and a home. Out: a zip without faces or paths, and, of a zip, an `Outcome` and how a rerun agrees with it.
Read `bundle.py` first, then `rerun.py`.
"""
