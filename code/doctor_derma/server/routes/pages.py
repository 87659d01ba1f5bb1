"""HTML pages: the upload page, the explanations of problem types, the model card, and ``/docs``.

All but the upload page are text in one frame that runs no script and loads nothing from elsewhere.
FastAPI's own reference of the API takes its scripts from a CDN, which this server must not.
"""

import json
import re
from collections.abc import Sequence
from html import escape
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Response
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
_REFERENCE = """<h1>{title}</h1>
<p><a href="./">Upload page</a> · <a href="openapi.json">openapi.json</a> (OpenAPI 3.1)</p>
<p>SERVER is the address of this page without <code>docs</code> at its end.</p>
<pre><code>curl -F image=@lesion.jpg SERVER/v1/predict</code></pre>
{operations}
<h2>Types</h2>
{types}"""
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
    title: str, content: str, *, notice: bool = True, card: bool = False, up: str = ""
) -> str:
    """Return a page.

    Parameters
    ----------
    title : text
    content : HTML of the main part
    notice : whether it says that this is no medical device
    card : whether it is a model card, which has a style of its own
    up : from the page to the upload page, such as ``../``, as the server may lie under a path
    """
    styles = ("style.css", "card.css") if card else ("style.css",)
    links = (f'<link rel="stylesheet" href="{up}static/{name}">' for name in styles)
    return _PAGE.format(
        title=escape(title),
        up=up,
        styles="\n".join(links),
        classes="reference card" if card else "reference",
        notice=_NOTICE if notice else "",
        content=content,
    )


def _explanation(type: ProblemType) -> str:
    body = f"<p>{escape(type.meaning)}</p><p>It comes with the HTTP status {type.status}.</p>"
    return _problem_page(type.title, body, up="../")


def _overview() -> str:
    items = "".join(
        f'<li><a href="{of.uri_from(PROBLEMS_PATH)}">{escape(of.title)}</a> ({of.status})</li>'
        for of in PROBLEM_TYPES
    )
    return _problem_page("Problems", f"<ul>{items}</ul>", up="./")


def _problem_page(title: str, body: str, up: str) -> str:
    content = f"<h1>{escape(title)}</h1>\n{_LINKS.format(up=up)}\n{body}"
    return html_page(title, content, notice=False, up=up)


def card_html(markdown: str) -> str:
    """Return a page with a model card.

    ``markdown`` is what ``doctor_derma.bundle.read_card`` returns. Its front matter, which is for
    programs, is left out. HTML inside the Markdown is shown as text.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", lambda *_: _TABLE_OPEN)
    parser.add_render_rule("table_close", lambda *_: _TABLE_CLOSE)
    parser.add_render_rule("th_open", _cell_open)
    parser.add_render_rule("td_open", _cell_open)
    text = _FRONT_MATTER.sub("", markdown)
    content = f'<p><a href="./">Upload page</a></p>\n{parser.render(text)}'
    return html_page(_card_title(parser.parse(text)), content, card=True)


def _card_title(tokens: Sequence[Token]) -> str:
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


def reference_routes(openapi: dict[str, Any]) -> APIRouter:
    """Return the routes of the API reference, as a page and as the document, made once, here."""
    router = APIRouter(include_in_schema=False)
    page, document = render_reference(openapi), json.dumps(openapi, ensure_ascii=False)

    @router.get("/docs")
    async def reference() -> HTMLResponse:
        return HTMLResponse(page)

    @router.get("/openapi.json")
    async def openapi_document() -> Response:
        return Response(document, media_type="application/json")

    return router


def render_reference(openapi: dict[str, Any]) -> str:
    """Return the HTML of the reference for an OpenAPI 3.1 document."""
    operations = [
        _operation(method, path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    types = [_type(name, schema) for name, schema in openapi["components"]["schemas"].items()]
    title = f"{openapi['info']['title']} API"
    content = _REFERENCE.format(
        title=escape(title), operations="\n".join(operations), types="\n".join(types)
    )
    return html_page(title, content)


def _operation(method: str, path: str, operation: dict[str, Any]) -> str:
    parts = [
        f"<section><h2><code>{method.upper()} {escape(path)}</code></h2>",
        f"<p>{escape(operation['summary'])}. {escape(operation.get('description', ''))}</p>",
    ]
    if operation.get("security"):
        parts.append("<p>It needs an API key, as a bearer token or as X-API-Key.</p>")
    if parameters := operation.get("parameters"):
        named = {each["name"]: each["schema"] | each for each in parameters}
        parts.append(f"<h3>Query</h3>{_fields({'properties': named})}")
    # Types of a body that are described alike share one heading.
    bodies = operation.get("requestBody", {}).get("content", {}).items()
    for schema, same in groupby(bodies, key=lambda body: body[1]["schema"]):
        parts.append(f"<h3>Request: {escape(', '.join(name for name, _ in same))}</h3>")
        parts.append(
            _fields(schema) if "properties" in schema else f"<p>{escape(schema['description'])}</p>"
        )
    rows = []
    for status, response in operation["responses"].items():
        body = " or ".join(
            f"{_type_name(content['schema'])} as <code>{escape(media_type)}</code>"
            for media_type, content in response.get("content", {}).items()
        )
        rows.append([status, body, escape(response["description"])])
    parts.append("<h3>Responses</h3>" + _table(["status", "body", "meaning"], rows))
    return "".join([*parts, "</section>"])


def _type(name: str, schema: dict[str, Any]) -> str:
    description = escape(schema.get("description", ""))
    examples = "".join(
        f'<pre tabindex="0"><code>{escape(json.dumps(example, indent=2))}</code></pre>'
        for example in schema.get("examples", ())
    )
    heading = f'<h3 id="{escape(name)}">{escape(name)}</h3><p>{description}</p>'
    return heading + _fields(schema) + examples


def _fields(schema: dict[str, Any]) -> str:
    rows = [
        [f"<code>{escape(name)}</code>", _type_name(field), escape(field.get("description", ""))]
        for name, field in schema.get("properties", {}).items()
    ]
    return _table(["field", "type", "meaning"], rows)


def _type_name(schema: dict[str, Any]) -> str:
    if reference := schema.get("$ref"):
        name = escape(reference.rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if choices := schema.get("anyOf"):
        return " or ".join(map(_type_name, choices))
    if values := schema.get("enum"):
        return " or ".join(f"<code>{escape(value)}</code>" for value in values)
    kind = schema.get("type", "anything")
    if kind == "array":
        item = schema["items"] if "items" in schema else schema["prefixItems"][0]
        return f"list of {_type_name(item)}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), dict):
        return f"object of {_type_name(schema['additionalProperties'])}"
    return escape("file" if schema.get("format") == "binary" else kind)


def _table(head: list[str], rows: list[list[str]]) -> str:
    titles = "".join(f'<th scope="col">{title}</th>' for title in head)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return (
        '<div class="scroll" tabindex="0"><table>'
        f"<thead><tr>{titles}</tr></thead><tbody>{body}</tbody></table></div>"
    )
