"""Text and tables as LaTeX has them."""

from __future__ import annotations

from collections.abc import Sequence

from polyview.reporting.rows import NONE

_LETTERS = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "·": r"$\cdot$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\to$",
    "†": r"$\dagger$",
    "‡": r"$\ddagger$",
    "“": "``",
    "”": "''",
    **{letter: f"${letter}$" for letter in "<>|"},  # which text fonts have other letters for
    **{letter: f"{{{letter}}}" for letter in "[]*"},  # which after a row's end belong to that
    NONE: "--",
}


def escape(text: str) -> str:
    """The text with every letter that LaTeX would read as something else written so that it stands as it is."""
    return "".join(_LETTERS.get(letter, letter) for letter in text)


def floating(caption: str, label: str, tabular: Sequence[str], notes: Sequence[str]) -> str:
    """A table that floats, with its caption above and notes below; one wider than the text is shrunk to it.

    tabular: lines of LaTeX; caption and notes are plain text.
    """
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{escape(' '.join(caption.split()))}}}",
        rf"\label{{tab:{label}}}",
        r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%",
        *tabular,
        r"}\par\smallskip",
        r"\begin{minipage}{\linewidth}\footnotesize\raggedright",
        *(rf"{escape(note)}\par" for note in notes),
        r"\end{minipage}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"
