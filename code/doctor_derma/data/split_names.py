"""How people write train, val and test in the names of folders."""

import re

_SPELLINGS = {
    "train": ("train", "training", "trn"),
    "val": ("val", "valid", "validation", "validate", "validating", "dev", "development"),
    "test": ("test", "testing", "tests", "tst"),
}
_SPLIT_OF = {word: split for split, words in _SPELLINGS.items() for word in words}
# What is put beside it, as in "train_set", "TrainingData" or "test images".
_FILLING = r"(?:data)?sets?|data|images?|imgs?|pictures?|photos?|splits?|folders?|files?"
_GLUED = re.compile(rf"^(?:{_FILLING})?({'|'.join(_SPLIT_OF)})(?:{_FILLING})?$")


def split_named(name: str) -> str | None:
    """Return the split that a folder's name means, such as ``val`` for ``Validation_set``."""
    words = [word for word in _words(name) if not re.fullmatch(_FILLING, word)]
    if len(words) != 1:
        return None
    found = _GLUED.match(words[0])
    return _SPLIT_OF[found[1]] if found else None


def mentions_split(name: str) -> bool:
    """Say whether a name has such a word in it, as ``ISIC2018_Task3_Training_Input`` has."""
    return any(_GLUED.match(word) for word in _words(name))


def _words(name: str) -> list[str]:
    # "TrainSet" is two words, "TRAIN" is one.
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[a-z]+", apart.casefold())
