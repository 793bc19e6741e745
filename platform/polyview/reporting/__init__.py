"""The report of a study: terminal, markdown, LaTeX, CSV, and one page of HTML with its figures.

In: an `Outcome`. Out: text and files. Read `report.py` first, then `sections`.
"""
