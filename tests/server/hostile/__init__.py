"""Files that mean no good, or only look so: made here, from a seed, none from elsewhere."""

from server.hostile.broken import broken_files
from server.hostile.foreign import foreign_files
from server.hostile.lying import lying_files
from server.hostile.odd import odd_files
from server.hostile.promising import promising_files


def hostile_files(seed: int = 0) -> dict[str, bytes]:
    """Return all of them by name; the same for the same seed."""
    return {
        **{f"odd/{name}": data for name, data in odd_files(seed).items()},
        **{f"lying/{name}": data for name, data in lying_files(seed).items()},
        **{f"promising/{name}": data for name, data in promising_files(seed).items()},
        **{f"broken/{name}": data for name, data in broken_files(seed).items()},
        **{f"foreign/{name}": data for name, data in foreign_files(seed).items()},
    }
