"""``derma serve``."""

from typing import Annotated

import typer

from doctor_derma.commands.options import Bundle, bundle_or_champion
from doctor_derma.decisions import Rule


def serve(
    model: Bundle = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(envvar="PORT", help="Port.")] = 5555,
    workers: Annotated[
        int, typer.Option(envvar="DERMA_WORKERS", min=1, help="Processes that share the port.")
    ] = 1,
    rule: Annotated[
        Rule | None,
        typer.Option(envvar="DERMA_RULE", help="Decision rule; default: the model's own."),
    ] = None,
) -> None:
    """Serve the upload page and the API."""
    from doctor_derma.server.run import serve
    from doctor_derma.server.settings import Settings

    settings = Settings.from_environment().model_copy(update={"workers": workers, "rule": rule})
    serve(bundle_or_champion(model), host, port, settings)
