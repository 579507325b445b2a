"""Pieces of HTML pages that are one file: nothing is fetched and nothing runs."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from html import escape

from robolearn.eval.style import CSS

IMAGE = re.compile(r"data:image/(png|jpeg|svg\+xml);base64,[A-Za-z0-9+/=]+")
# whatever a name or a configuration contains
POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def page(title: str, body: str, *, summary: str = "", css: str = "") -> str:
    """Return a whole page with the style of all our pages, and `css` after it."""
    title = escape(title)
    below = f"<p>{escape(summary)}</p>" if summary else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{CSS}{css}</style>\n</head>\n<body>\n<main>\n"
        f"<header><h1>{title}</h1>{below}</header>\n{body}</main>\n</body>\n</html>\n"
    )


def section(title: str, body: str) -> str:
    """Return a section, nothing where it has no content."""
    return f"<section><h2>{escape(title)}</h2>{body}</section>\n" if body else ""


def table(kind: str, headers: Sequence[str], rows: Iterable[str]) -> str:
    """Return a table of class `kind`; headers that begin with a space stand over numbers, at the right."""
    top = "".join(f'<th scope="col"{_align(h)}>{escape(h.strip())}</th>' for h in headers)
    return (
        f'<div class="scroll"><table class="{kind}"><thead><tr>{top}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def _align(header: str) -> str:
    return ' class="n"' if header.startswith(" ") else ""


def numbers(*values: str) -> str:
    """Return table cells of numbers."""
    return "".join(f'<td class="n">{escape(value)}</td>' for value in values)


def head(name: str, note: str = "") -> str:
    """Return the head of a table row, with a note below the name."""
    below = f'<span class="note">{escape(note)}</span>' if note else ""
    return f'<th scope="row">{escape(name)}{below}</th>'


def figure(title: str, body: str, note: str) -> str:
    """Return a figure with a title above and a note below."""
    below = f"<figcaption>{escape(note)}</figcaption>" if note else ""
    return f"<figure><h3>{escape(title)}</h3>{body}{below}</figure>"


def facts(values: Mapping[str, str]) -> str:
    """Return a list of facts by name."""
    items = "".join(f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in values.items())
    return f"<dl>{items}</dl>" if items else ""
