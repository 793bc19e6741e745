"""MLflow: a live copy of the ledger, written by the driver alone.

In: trials and their records. Out: a parent run per study and a nested run per trial. Read `tracker.py` first.
"""
