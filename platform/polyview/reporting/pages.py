"""Pages of HTML that need no script and no other file, of the templates beside this file."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import jinja2


def render(template: str, **values: Any) -> str:
    """A page of a template; whatever its values hold is text in it."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=jinja2.StrictUndefined
    )
    templates.filters |= {
        "svg_uri": lambda svg: data_uri("image/svg+xml", svg.encode()),
        "breakable": lambda text: text.replace("/", "/\N{ZERO WIDTH SPACE}"),
    }
    return templates.get_template(template).render(**values)


def data_uri(kind: str, content: bytes) -> str:
    """A file's content as the address of itself."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
