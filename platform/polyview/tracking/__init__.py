"""MLflow: a live copy of the ledger, written by the driver alone.

In: trials and their records. Out: a run per study, per variant in it and per trial in that, and the pages that compare
them. Read `runs.py` first, then `tracker.py`.
"""
