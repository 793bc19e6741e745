"""Text and tables as markdown has them, whatever is in the names that they hold."""

from __future__ import annotations

import re
from collections.abc import Sequence

_READ_AS_MARKUP = re.compile(r"([\\*`~]|(?<![^\W_])_|_(?![^\W_])|&(?=[#A-Za-z])|<(?=[A-Za-z/!?])|\[(?=[^\]]*\]\())")
"""What of a text markdown would read as an emphasis, code, an entity, a tag or a link."""


def plain(text: str) -> str:
    """The text so that it stands as it is."""
    return _READ_AS_MARKUP.sub(r"\\\1", text)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of text as a table; the first has the heads."""
    return joined([[plain(cell) for cell in row] for row in rows])


def joined(rows: Sequence[Sequence[str]]) -> str:
    """Rows of markdown as a table; the first has the heads."""
    cells = [[cell.replace("|", r"\|") for cell in row] for row in rows]
    rule = ["---", *("---:" for _ in cells[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [cells[0], rule, *cells[1:]])
