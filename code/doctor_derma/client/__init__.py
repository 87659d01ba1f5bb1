"""Ask a server for predictions from Python; needs neither torch nor a model."""

from doctor_derma.client.answers import ProblemError, UnexpectedAnswer, Unreachable
from doctor_derma.client.clients import AsyncClient, Client
from doctor_derma.proxies import Retries

__all__ = ["AsyncClient", "Client", "ProblemError", "Retries", "UnexpectedAnswer", "Unreachable"]
