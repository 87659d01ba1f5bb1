"""Ask a server for predictions from Python; needs neither torch nor a model."""

from doctor_derma.client.asynchronous import AsyncClient
from doctor_derma.client.errors import ProblemError, UnexpectedAnswer, Unreachable
from doctor_derma.client.retries import Retries
from doctor_derma.client.synchronous import Client

__all__ = ["AsyncClient", "Client", "ProblemError", "Retries", "UnexpectedAnswer", "Unreachable"]
