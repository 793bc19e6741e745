"""What the records say: differences with their uncertainty, effects of factors, and the outcome of a search.

In: the `Record`s of a study. Out: an `Outcome` and sentences that hold at their stated rate. Read `findings.py` first.
"""
