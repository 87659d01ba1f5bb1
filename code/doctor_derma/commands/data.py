"""The commands of ``derma data``: import, download, draw, describe and check images."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from doctor_derma.commands import data_check
from doctor_derma.commands.options import parse_map
from doctor_derma.commands.push import push_data
from doctor_derma.errors import DermaError
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

app = typer.Typer(help="Import, download, draw, describe and check images.", no_args_is_help=True)
import_app = typer.Typer(help="Import images into data/.", no_args_is_help=True)
app.add_typer(import_app, name="import")

Share = Annotated[float, typer.Option(min=0, max=0.9, help="Share of the lesions.")]
Add = Annotated[bool, typer.Option("--add", help="Add to the data set that is there.")]
Licence = Annotated[str | None, typer.Option(help="Licence of the images.")]
Column = Annotated[str | None, typer.Option(metavar="COLUMN")]
Seed = Annotated[int, typer.Option(min=0, help="Seed; the same seed gives the same result.")]


@import_app.command("ham10000")
def import_ham10000(
    folder: Path, val: Share = 0.15, test: Share = 0.15, seed: Seed = 0, add: Add = False
) -> None:
    """Import the published HAM10000 layout: images, zipped or not, and HAM10000_metadata.csv."""
    from doctor_derma.data.importers.ham10000 import HAM10000, read_ham10000

    images = read_ham10000(folder)
    _import(images, *HAM10000, place=str(folder), val=val, test=test, seed=seed, add=add)


@import_app.command("folder")
def import_folder(
    folder: Path,
    val: Share = 0.15,
    test: Share = 0.15,
    seed: Seed = 0,
    licence: Licence = "unknown",
    add: Add = False,
) -> None:
    """Import class folders: train/CLASS/ and test/CLASS/, or CLASS/ to be split here."""
    from doctor_derma.data.importers.folder import read_folder
    from doctor_derma.data.importers.tables import shown

    images = read_folder(folder)
    name = shown(folder.resolve().name)
    given = {"val": val, "test": test, "seed": seed, "add": add}
    _import(images, name, shown(str(folder)), licence or "unknown", **given)


@import_app.command("table")
def import_table(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, Excel or Parquet; dermamnist.npz.")],
    images: Annotated[
        list[Path] | None,
        typer.Option(help="Folder or zip archive of pictures, or several; the table's folder."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A published layout; else found out.")] = None,
    columns: Annotated[Path | None, typer.Option(help="Columns and labels as YAML.")] = None,
    image: Column = None,
    label: Column = None,
    one_hot: Annotated[
        str | None, typer.Option(metavar="COLUMNS", help="Columns of 0 and 1, with commas.")
    ] = None,
    lesion: Column = None,
    patient: Column = None,
    age: Column = None,
    sex: Column = None,
    site: Column = None,
    source: Column = None,
    split: Column = None,
    skin_tone: Column = None,
    map: Annotated[
        list[str] | None,
        typer.Option(metavar="LABEL=CLASS", help="Class of a label; drop leaves it out."),
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the data set.")] = None,
    licence: Licence = None,
    val: Share = 0.15,
    test: Share = 0.15,
    seed: Seed = 0,
    add: Add = False,
) -> None:
    """Import pictures that a table labels, by the names of its columns or a published layout."""
    from doctor_derma.data.importers.sources import table_source

    written = {"image": image, "label": label, "lesion": lesion, "patient": patient, "age": age}
    written |= {"sex": sex, "site": site, "source": source, "split": split}
    written |= {"skin_tone": skin_tone, "name": name, "licence": licence}
    settings: dict[str, Any] = {key: value for key, value in written.items() if value is not None}
    if one_hot:
        settings["classes"] = [column.strip() for column in one_hot.split(",")]
    if map:
        settings["labels"] = parse_map(map)
    found = table_source(table, images, preset=preset, columns=columns, settings=settings)
    given = {"val": val, "test": test, "seed": seed, "add": add}
    _import(found.images, found.name, found.reference, found.licence, place=str(table), **given)


@import_app.command("auto")
def import_auto(
    folder: Path,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Import without a question.")] = False,
    licence: Licence = None,
    val: Share = 0.15,
    test: Share = 0.15,
    seed: Seed = 0,
    add: Add = False,
) -> None:
    """Find out how a folder is laid out, say what would be imported, and do it after a yes."""
    from doctor_derma.data.importers.sources import find_source

    found = find_source(folder)
    terminal(soft_wrap=True).print(found.description)
    try:
        if not yes and not typer.confirm("Import it?"):
            return
    except typer.Abort:
        raise DermaError(f"{folder}: nothing was imported; say --yes to import it") from None
    given = {"val": val, "test": test, "seed": seed, "add": add}
    licence = licence or found.licence
    _import(found.images, found.name, found.reference, licence, place=str(folder), **given)


@import_app.command("masks")
def import_masks(source: Path) -> None:
    """Import the lesion masks of the imported images: a folder or zip of IMAGE_segmentation.png."""
    from doctor_derma.data.manifest import REPORT_FILE
    from doctor_derma.data.masks import MASKS_FOLDER, import_masks

    folder = Workspace.find().data
    summary = import_masks(source, folder)
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in summary.reasons.items())
    terminal().print(
        f"{summary.seen:,} masks seen: {summary.kept:,} imported. "
        f"Reported: {reasons or 'nothing'}. Reasons are in {folder / MASKS_FOLDER / REPORT_FILE}"
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


app.command("push")(push_data)
app.command()(data_check.check)
app.command()(data_check.apply)


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
        f"{missing if summary.missing else ''}Reasons are in {folder / 'import_report.csv'}"
    )
