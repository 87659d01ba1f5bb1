"""The commands of ``derma data``: import, download, draw and describe images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

app = typer.Typer(help="Import, download, draw and describe images.", no_args_is_help=True)
import_app = typer.Typer(help="Import images into data/.", no_args_is_help=True)
app.add_typer(import_app, name="import")

Share = Annotated[float, typer.Option(min=0, max=0.9, help="Share of the lesions.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same result.")]


@import_app.command("ham10000")
def import_ham10000(folder: Path, val: Share = 0.15, test: Share = 0.15, seed: Seed = 0) -> None:
    """Import the published HAM10000 layout: images, zipped or not, and HAM10000_metadata.csv."""
    from doctor_derma.data.importers.ham10000 import HAM10000, read_ham10000

    images = read_ham10000(folder)
    _import(images, *HAM10000, place=str(folder), val=val, test=test, seed=seed)


@import_app.command("folder")
def import_folder(
    folder: Path,
    val: Share = 0.15,
    test: Share = 0.15,
    seed: Seed = 0,
    licence: Annotated[str, typer.Option(help="Licence of the images.")] = "unknown",
) -> None:
    """Import class folders: train/CLASS/ and test/CLASS/, or CLASS/ to be split here."""
    from doctor_derma.data.importers.folder import read_folder
    from doctor_derma.data.importers.tables import shown

    images = read_folder(folder)
    name = shown(folder.resolve().name)
    _import(images, name, shown(str(folder)), licence, val=val, test=test, seed=seed)


@import_app.command("masks")
def import_masks(source: Path) -> None:
    """Import the lesion masks of the imported images: a folder or zip of IMAGE_segmentation.png."""
    from doctor_derma.data.masks import MASKS_FOLDER, REPORT_FILE, import_masks

    folder = Workspace.find().data
    summary = import_masks(source, folder)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.reasons.items())
    terminal().print(
        f"{summary.seen:,} masks seen: {summary.kept:,} imported. "
        f"Reported: {reasons or 'nothing'}. Reasons are in {folder / MASKS_FOLDER / REPORT_FILE}",
    )


@import_app.command("confirmation")
def import_confirmation(source: Path) -> None:
    """Import how diagnoses were confirmed: a table with image_id and dx_type, or its folder."""
    from doctor_derma.data.confirmation import CONFIRMATION_FILE, import_confirmations

    folder = Workspace.find().data
    known = import_confirmations(source, folder)
    terminal().print(f"Known of {known:,} images, kept in {folder / CONFIRMATION_FILE}")


@app.command("synthesize")
def synthesize(
    images: Annotated[int, typer.Option(min=70, help="How many images.")] = 420,
    seed: Seed = 0,
    val: Share = 0.15,
    test: Share = 0.15,
) -> None:
    """Draw a small set of synthetic lesions, to try everything without data."""
    from doctor_derma.data.synthetic.synthesis import SYNTHETIC, scaled_counts, synthesize

    drawn = synthesize(scaled_counts(images), seed=seed)
    _import(drawn, *SYNTHETIC, val=val, test=test, seed=seed)


@app.command("download")
def download(
    name: Annotated[Literal["ham10000"], typer.Argument(help="Which data set.")],
    to: Annotated[Path | None, typer.Option(help="Where to put it.")] = None,
    url: Annotated[str | None, typer.Option(help="Another server with the same API.")] = None,
) -> None:
    """Fetch a public data set, checked and resumable; import it afterwards."""
    from doctor_derma.data.importers.download import download_ham10000

    folder = to or Workspace.find().data / "downloads" / name
    download_ham10000(folder, url)
    terminal().print(f"Now run: derma data import {name} {folder}")


@app.command("describe")
def describe() -> None:
    """Show what was imported, and plot it to data/description.png."""
    from doctor_derma.data.description import describe, plot_description
    from doctor_derma.data.manifest import read_dataset

    dataset = read_dataset(Workspace.find().data)
    path = dataset.folder / "description.png"
    plot_description(dataset, path)
    terminal().print(describe(dataset), f"Plotted to {path}")


def _import(images: Any, name: str, source: str, licence: str, **options: Any) -> None:
    from doctor_derma.data.description import describe
    from doctor_derma.data.importers.importing import import_images
    from doctor_derma.data.manifest import DatasetInfo, read_dataset

    folder = Workspace.find().data
    info = DatasetInfo(name=name, source=source, licence=licence, seed=options["seed"])
    summary = import_images(images, info, folder, **options)
    terminal().print(describe(read_dataset(folder)))
    missing = f"{summary.missing:,} rows of the metadata name no picture. "
    terminal(soft_wrap=True).print(
        f"{summary.seen:,} images seen: {summary.kept:,} kept, {summary.left_out:,} left out. "
        f"{missing if summary.missing else ''}Reasons are in {folder / 'import_report.csv'}",
    )
