"""What the records say: differences with their uncertainty, effects of factors, and the outcome of a search.

In: an `Outcome`, a study with its `Record`s. Out: comparisons, effects, and sentences that hold at their stated rate.
Read `comparisons.py` first, then `inference.py`.
"""
