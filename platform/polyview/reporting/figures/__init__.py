"""The figures of a report: how each is drawn, in colours, marks and dashes that are told apart in grey too.

In: scores, comparisons, effects, curves. Out: matplotlib figures, saved as SVG for a page and as PDF and SVG for a
paper. Read `style.py` first.
"""
