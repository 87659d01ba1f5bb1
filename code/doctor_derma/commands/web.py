"""``derma web``."""

from pathlib import Path
from typing import Annotated

import typer

from doctor_derma.commands.options import Bundle, bundle_or_champion
from doctor_derma.terminal import terminal
from doctor_derma.workspace import Workspace

_RUNTIME = "deployment/web/node_modules/onnxruntime-web/dist"


def web(
    out: Annotated[Path, typer.Argument(help="Folder of the site: new, or one to be replaced.")],
    model: Bundle = None,
    runtime: Annotated[
        Path | None,
        typer.Option(help="Folder dist of onnxruntime-web; default: where 'make web' has it."),
    ] = None,
) -> None:
    """Write a static site that classifies in the browser, where pictures stay on the device."""
    from doctor_derma.web.site import write_site

    workspace = Workspace.find()
    site = write_site(out, bundle_or_champion(model), runtime or workspace.root / _RUNTIME)
    console = terminal(soft_wrap=True)
    console.print(f"Site: {site.folder}, {site.files} files, {site.bytes / 1e6:.1f} MB")
    console.print(f"Try it: python3 -m http.server --bind 127.0.0.1 --directory {site.folder}")
