"""Text and tables as LaTeX has them."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from polyview.reporting.rows import NONE

_GREEK = (
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa", "lambda", "mu", "nu"),
    *("xi", "pi", "rho", "sigma", "tau", "upsilon", "phi", "chi", "psi", "omega"),
    *("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Upsilon", "Phi", "Psi", "Omega"),
)


def _letter(name: str) -> str:
    """The Greek letter that LaTeX calls so."""
    case = "SMALL" if name.islower() else "CAPITAL"
    return unicodedata.lookup(f"GREEK {case} LETTER {name.upper().replace('LAMBDA', 'LAMDA')}")


_SIGNS = {
    **{"±": "pm", "·": "cdot", "×": "times", "†": "dagger", "‡": "ddagger"},
    **{"≤": "le", "≥": "ge", "≠": "ne", "\N{ALMOST EQUAL TO}": "approx"},
    **{"\N{SQUARE ROOT}": "surd", "\N{INFINITY}": "infty", "\N{ELEMENT OF}": "in"},
    **{"↑": "uparrow", "↓": "downarrow", "→": "to", "←": "leftarrow"},
}
_LETTERS = {letter: f"\\{letter}" for letter in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "\N{MINUS SIGN}": "$-$",
    "“": "``",
    "”": "''",
    **{letter: f"${letter}$" for letter in "<>|"},  # which text fonts have other letters for
    **{letter: f"{{{letter}}}" for letter in "[]*"},  # which after a row's end belong to that
    **{letter: rf"$\{name}$" for letter, name in _SIGNS.items()},
    **{_letter(name): rf"$\{name}$" for name in _GREEK},
    NONE: "--",
}
_PDFLATEX_HAS = (
    {chr(code) for code in range(0x180)}
    | {*"–’…", "\N{LEFT SINGLE QUOTATION MARK}", "\N{EURO SIGN}", "\N{TRADE MARK SIGN}"}
    | {*_LETTERS}
)


def escape(text: str) -> str:
    """The text with every letter that LaTeX would read as something else written so that it stands as it is."""
    return "".join(_LETTERS.get(letter, letter) for letter in text)


def with_needs(packages: str, text: str) -> str:
    """The text below a comment that says what it needs: packages, and of letters that pdflatex lacks another engine."""
    lacking = "".join(dict.fromkeys(letter for letter in text if letter not in _PDFLATEX_HAS))
    engine = f" XeLaTeX or LuaLaTeX, with a font that has {lacking}, which pdflatex has not." if lacking else ""
    return f"% Needs \\usepackage{{{packages}}}.{engine}\n{text}"


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
