"""What the containers are told, without starting one."""

import re
from pathlib import Path

import yaml

COMPOSE = Path(__file__).resolve().parents[2] / "docker" / "docker-compose.yml"


def told(name: str, **environment: str) -> list[str]:
    """Return a list that MLflow is told, with these settings of ``.env``."""
    environments = yaml.safe_load(COMPOSE.read_text())["services"]["mlflow"]["environment"]

    def filled(found: re.Match[str]) -> str:
        return environment.get(found[1]) or found[2]

    return re.sub(r"\$\{(\w+):-([^}]*)\}", filled, environments[name]).split(",")


def test_mlflow_knows_the_names_that_it_is_called_by() -> None:
    hosts = told("MLFLOW_SERVER_ALLOWED_HOSTS", DERMA_HOST="derma.example", MLFLOW_PORT="6001")
    assert {"mlflow:5001", "localhost:6001", "derma.example:6001"} <= set(hosts)
    origins = told("MLFLOW_SERVER_CORS_ALLOWED_ORIGINS", DERMA_HOST="derma.example")
    assert "http://derma.example:5001" in origins
    # Behind a proxy with TLS browsers name no port.
    assert "derma.example" in hosts
    assert "https://derma.example" in origins
