"""The parts of a report beside the comparison: sentences, a table, a figure each. Read `study.py` first."""

from polyview.reporting.sections.section import Section
from polyview.reporting.sections.study import sections

__all__ = ["Section", "sections"]
