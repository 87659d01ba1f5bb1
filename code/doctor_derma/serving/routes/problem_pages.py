"""``GET /problems/NAME``: what a kind of problem means, at the address in its ``type``."""

from html import escape

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from doctor_derma.serving.routes.kinds import KINDS, NOT_FOUND, PROBLEMS_PATH, Kind
from doctor_derma.serving.routes.problem import Refusal

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<meta name="color-scheme" content="light dark">
<link rel="icon" href="/static/icon.svg" type="image/svg+xml">
<link rel="stylesheet" href="/static/style.css">
</head>
<body class="reference">
<main>
<h1>{title}</h1>
<p><a href="/">Upload page</a> · <a href="/docs">API reference</a></p>
{body}
</main>
</body>
</html>
"""


def problem_routes() -> APIRouter:
    """Return the routes of the pages that explain problems."""
    router = APIRouter(include_in_schema=False)
    pages = {kind.name: _explain(kind) for kind in KINDS}
    overview = _list_kinds()

    @router.get(PROBLEMS_PATH)
    async def problems() -> HTMLResponse:
        return HTMLResponse(overview)

    @router.get(PROBLEMS_PATH + "/{name}")
    async def problem(name: str) -> HTMLResponse:
        if name not in pages:
            raise Refusal(NOT_FOUND, f"No problem has this name; see {PROBLEMS_PATH}.")
        return HTMLResponse(pages[name])

    return router


def _explain(kind: Kind) -> str:
    body = f"<p>{escape(kind.meaning)}</p><p>It comes with the HTTP status {kind.status}.</p>"
    return _PAGE.format(title=escape(kind.title), body=body)


def _list_kinds() -> str:
    items = "".join(
        f'<li><a href="{kind.address}">{escape(kind.title)}</a> ({kind.status})</li>'
        for kind in KINDS
    )
    return _PAGE.format(title="Problems", body=f"<ul>{items}</ul>")
