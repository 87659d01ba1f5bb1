"""Names of networks, checked without loading torch where possible."""

import re

from doctor_derma.errors import DermaError

RESNETS = ("resnet18", "resnet26", "resnet34", "resnet50")
EFFICIENTNETS = ("efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2")
ATTENTIONS = ("se", "eca")
TIMM_PREFIX = "timm/"
_OWN_NAME = re.compile(rf"(?:({'|'.join(ATTENTIONS)})_)?({'|'.join((*RESNETS, *EFFICIENTNETS))})")


def parse_name(name: str) -> tuple[str, str | None]:
    """Split a network's name into timm's backbone name and the attention, if any.

    Raises
    ------
    DermaError
        When there is no such network.

    Examples
    --------
    >>> parse_name("eca_resnet18")
    ('resnet18', 'eca')
    >>> parse_name("se_efficientnet_lite0")  # timm's name says whose padding it has
    ('tf_efficientnet_lite0', 'se')
    """
    if match := _OWN_NAME.fullmatch(name):
        return f"tf_{match[2]}" if match[2] in EFFICIENTNETS else match[2], match[1]
    if name.startswith(TIMM_PREFIX):
        import timm

        if timm.is_model(backbone := name.removeprefix(TIMM_PREFIX)):
            return backbone, None
    raise DermaError(
        f"model: no network named '{name}'; use one of {', '.join((*RESNETS, *EFFICIENTNETS))}, "
        "one of these with 'se_' or 'eca_' in front, "
        "or 'timm/NAME' with a name from timm.list_models()"
    )
