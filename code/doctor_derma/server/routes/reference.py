"""``GET /docs``: the API reference as one HTML page that loads nothing from other hosts.

FastAPI's own page takes its scripts from a CDN, which this server must not.
"""

import json
from html import escape
from itertools import groupby
from typing import Any

from fastapi import APIRouter, Response
from fastapi.responses import HTMLResponse

from doctor_derma.server.routes.pages import html_page

_CONTENT = """<h1>{title}</h1>
<p><a href="./">Upload page</a> · <a href="openapi.json">openapi.json</a> (OpenAPI 3.1)</p>
<p>SERVER is the address of this page without <code>docs</code> at its end.</p>
<pre><code>curl -F image=@lesion.jpg SERVER/v1/predict</code></pre>
{operations}
<h2>Types</h2>
{types}"""


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
    """Return the HTML of the reference.

    Parameters
    ----------
    openapi : the OpenAPI 3.1 document
    """
    operations = [
        _operation(method, path, operation)
        for path, methods in openapi["paths"].items()
        for method, operation in methods.items()
    ]
    types = [_type(name, schema) for name, schema in openapi["components"]["schemas"].items()]
    title = f"{openapi['info']['title']} API"
    content = _CONTENT.format(
        title=escape(title),
        operations="\n".join(operations),
        types="\n".join(types),
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
