"""One HTML file with everything in it: tables, plots and gallery, no outside requests."""

import base64
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from doctor_derma.evaluation.gallery import Card
from doctor_derma.evaluation.tables import Table

TEMPLATE = "report.html.jinja"
NOTICE = (
    "Not a medical device. These numbers describe a research model on one data set; "
    "do not use it to diagnose or to decide on treatment."
)
JPEG_QUALITY = 85


@dataclass(frozen=True)
class Plot:
    """A PNG file with a sentence on how to read it."""

    path: Path
    caption: str


@dataclass(frozen=True)
class Gallery:
    """Cards under a title, with a sentence on how to read them; ``name`` is for its file."""

    name: str
    title: str
    caption: str
    cards: list[Card]


@dataclass(frozen=True)
class Report:
    """The contents of a report, in reading order."""

    title: str
    subtitle: str
    tables: list[Table]
    plots: list[Plot]
    galleries: list[Gallery]
    provenance: Table


def write_html(report: Report, path: Path) -> None:
    """Fill the template; every text is escaped and every picture embedded as a data URI."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["png"] = _png_uri
    environment.filters["jpeg"] = _jpeg_uri
    text = environment.get_template(TEMPLATE).render(report=report, notice=NOTICE)
    path.write_text(text, encoding="utf-8")


def _png_uri(path: Path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode('ascii')}"


def _jpeg_uri(pixels: np.ndarray) -> str:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="JPEG", quality=JPEG_QUALITY, optimize=True)
    return f"data:image/jpeg;base64,{base64.b64encode(stream.getvalue()).decode('ascii')}"
