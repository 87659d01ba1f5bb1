"""What mistakes cost, from a YAML file."""

from pathlib import Path

import yaml
from pydantic import TypeAdapter, ValidationError

from doctor_derma.errors import DermaError

_COSTS = TypeAdapter(dict[str, dict[str, float]])
_EXAMPLE = "such as 'costs: {mel: {nv: 20}}' for a melanoma called a nevus"


def read_costs(path: Path) -> dict[str, dict[str, float]]:
    """Read true class -> called class -> cost from ``costs:`` in a YAML file.

    Raises
    ------
    DermaError
        When the file can't be read or holds anything else; classes are not checked here.
    """
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise DermaError(f"{path}: can't be read ({reason}); write it in YAML") from error
    if not isinstance(found, dict) or set(found) != {"costs"}:
        raise DermaError(f"{path}: give costs and nothing else, {_EXAMPLE}")
    try:
        return _COSTS.validate_python(found["costs"])
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in ("costs", *first["loc"]))
        raise DermaError(f"{path}: {where}: {first['msg']}; give costs {_EXAMPLE}") from error
