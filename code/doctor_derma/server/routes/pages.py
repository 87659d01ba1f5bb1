"""HTML pages: the upload page, the explanations of problem types, and the model card.

All but the upload page are text in one frame that runs no script and loads nothing from elsewhere.
"""

import re
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse, HTMLResponse
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from doctor_derma.inference.prediction import NOTICE
from doctor_derma.server.problems import (
    NOT_FOUND,
    PROBLEM_TYPES,
    PROBLEMS_PATH,
    ProblemError,
    ProblemType,
)

STATIC = Path(__file__).resolve().parents[1] / "static"
_NOTICE = f'<p class="notice" role="note"><strong>{escape(NOTICE)}</strong></p>\n'
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta name="color-scheme" content="light dark">
<link rel="icon" href="{up}static/icon.svg" type="image/svg+xml">
{styles}
</head>
<body class="{classes}">
{notice}<main>
{content}
</main>
</body>
</html>
"""
_LINKS = '<p><a href="{up}">Upload page</a> · <a href="{up}docs">API reference</a></p>'
# Wide tables scroll by themselves, also with the keyboard.
_TABLE_OPEN = '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'
_TABLE_CLOSE = "</table></div>\n"
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def page_routes() -> APIRouter:
    """Return the routes of the upload page and of the pages that explain problems."""
    router = APIRouter(include_in_schema=False)
    explanations = {each.name: _explanation(each) for each in PROBLEM_TYPES}
    overview = _overview()

    @router.get("/")
    async def upload_page() -> FileResponse:
        return FileResponse(STATIC / "index.html")

    @router.get(PROBLEMS_PATH)
    async def problems() -> HTMLResponse:
        return HTMLResponse(overview)

    @router.get(PROBLEMS_PATH + "/{name}")
    async def problem(name: str) -> HTMLResponse:
        if name not in explanations:
            raise ProblemError(NOT_FOUND, "No problem has this name; see problems.")
        return HTMLResponse(explanations[name])

    return router


def html_page(
    title: str,
    content: str,
    *,
    notice: bool = True,
    classes: str = "reference",
    styles: Sequence[str] = ("style.css",),
    up: str = "",
) -> str:
    """Return a page.

    Parameters
    ----------
    title : text
    content : HTML of the main part
    notice : whether it says that this is no medical device
    classes : of the body
    styles : style sheets in ``static/``
    up : from the page to the upload page, such as ``../``, as the server may lie under a path
    """
    links = (f'<link rel="stylesheet" href="{up}static/{name}">' for name in styles)
    return _PAGE.format(
        title=escape(title),
        up=up,
        styles="\n".join(links),
        classes=classes,
        notice=_NOTICE if notice else "",
        content=content,
    )


def _explanation(type: ProblemType) -> str:
    body = f"<p>{escape(type.meaning)}</p><p>It comes with the HTTP status {type.status}.</p>"
    return _problem_page(type.title, body, up="../")


def _overview() -> str:
    linked = (
        (each, f'<a href="{each.uri_from(PROBLEMS_PATH)}">{escape(each.title)}</a>')
        for each in PROBLEM_TYPES
    )
    items = (f"<li>{link} ({each.status})</li>" for each, link in linked)
    return _problem_page("Problems", f"<ul>{''.join(items)}</ul>", up="./")


def _problem_page(title: str, body: str, up: str) -> str:
    content = f"<h1>{escape(title)}</h1>\n{_LINKS.format(up=up)}\n{body}"
    return html_page(title, content, notice=False, up=up)


def card_html(markdown: str) -> str:
    """Return a page with a model card.

    The front matter, which is for programs, is left out. HTML inside the Markdown is
    shown as text.

    Parameters
    ----------
    markdown : as ``doctor_derma.bundle.read_card`` returns it
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: _TABLE_OPEN)
    parser.add_render_rule("table_close", lambda *_: _TABLE_CLOSE)
    parser.add_render_rule("th_open", _cell_open)
    parser.add_render_rule("td_open", _cell_open)
    text = _FRONT_MATTER.sub("", markdown)
    return html_page(
        _title(parser.parse(text)),
        f'<p><a href="./">Upload page</a></p>\n{parser.render(text)}',
        classes="reference card",
        styles=("style.css", "card.css"),
    )


def _title(tokens: Sequence[Token]) -> str:
    for heading, inline in pairwise(tokens):
        if heading.type == "heading_open" and heading.tag == "h1":
            return f"Model card of {inline.content}"
    return "Model card"


def _cell_open(
    renderer: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    # The server's content security policy forbids the style that sets a column right.
    if tokens[idx].attrs.pop("style", None):
        tokens[idx].attrSet("class", "number")
    return renderer.renderToken(tokens, idx, options, env)
