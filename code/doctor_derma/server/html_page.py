"""The frame of the server's pages that are made from text: one head, no script, no other host."""

from collections.abc import Sequence
from html import escape

from doctor_derma.inference.notice import NOTICE

NOTICE_LINE = f'<p class="notice" role="note"><strong>{escape(NOTICE)}</strong></p>\n'
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
        notice=NOTICE_LINE if notice else "",
        content=content,
    )
