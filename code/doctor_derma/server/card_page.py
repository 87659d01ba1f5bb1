"""The model card as a page: Markdown to HTML that runs nothing and loads from this server only."""

import re
from collections.abc import Sequence
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

from doctor_derma.server.html_page import html_page

_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


def card_html(markdown: str) -> str:
    """Return a page with a model card.

    The head between dashes, which is for programs, is left out. HTML inside the Markdown is
    shown as text.

    Parameters
    ----------
    markdown : as ``doctor_derma.bundle.read_card`` returns it
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    parser.add_render_rule("table_open", _table_open)
    parser.add_render_rule("table_close", _table_close)
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


def _table_open(
    renderer: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    # Wide tables scroll by themselves, also with the keyboard.
    return '<div class="scroll" tabindex="0" role="region" aria-label="Table"><table>\n'


def _table_close(
    renderer: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    return "</table></div>\n"


def _cell_open(
    renderer: RendererHTML, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType
) -> str:
    # The server's content security policy forbids the style that sets a column right.
    if tokens[idx].attrs.pop("style", None):
        tokens[idx].attrSet("class", "number")
    return renderer.renderToken(tokens, idx, options, env)
