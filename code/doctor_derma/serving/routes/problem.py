"""How the server says no."""

from pydantic import BaseModel, Field


class Problem(BaseModel):
    """The body of every 4xx answer."""

    detail: str = Field(description="What is wrong and what to do, in one sentence")
