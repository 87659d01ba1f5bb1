"""``GET /problems/NAME``: what a kind of problem means, at the address in its ``type``."""

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from doctor_derma.server.html_page import html_page
from doctor_derma.server.problems import (
    NOT_FOUND,
    PROBLEM_TYPES,
    PROBLEMS_PATH,
    ProblemError,
    ProblemType,
)

_LINKS = '<p><a href="{up}">Upload page</a> · <a href="{up}docs">API reference</a></p>'


def problem_routes() -> APIRouter:
    """Return the routes of the pages that explain problems."""
    router = APIRouter(include_in_schema=False)
    pages = {kind.name: _explain(kind) for kind in PROBLEM_TYPES}
    overview = _list_kinds()

    @router.get(PROBLEMS_PATH)
    async def problems() -> HTMLResponse:
        return HTMLResponse(overview)

    @router.get(PROBLEMS_PATH + "/{name}")
    async def problem(name: str) -> HTMLResponse:
        if name not in pages:
            raise ProblemError(NOT_FOUND, "No problem has this name; see problems.")
        return HTMLResponse(pages[name])

    return router


def _explain(kind: ProblemType) -> str:
    body = f"<p>{escape(kind.meaning)}</p><p>It comes with the HTTP status {kind.status}.</p>"
    return _page(kind.title, body, up="../")


def _list_kinds() -> str:
    items = "".join(_item(kind) for kind in PROBLEM_TYPES)
    return _page("Problems", f"<ul>{items}</ul>", up="./")


def _item(kind: ProblemType) -> str:
    address = kind.uri_from(PROBLEMS_PATH)
    return f'<li><a href="{address}">{escape(kind.title)}</a> ({kind.status})</li>'


def _page(title: str, body: str, up: str) -> str:
    content = f"<h1>{escape(title)}</h1>\n{_LINKS.format(up=up)}\n{body}"
    return html_page(title, content, notice=False, up=up)
