"""Trials: which ones a study needs, how one is run, how many run at once, and the ledger of their records.

In: a `Study` and rendered views. Out: a `Record` per trial. Read `design.py` first, then `trial.py`.
"""
