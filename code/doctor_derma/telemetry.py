"""What this program is made of reports nothing to its makers, unless that is asked for.

Several of the libraries do so by default. ONNX Runtime tells of the machine, the model file and
the names in the graph (on Linux since 1.29, and keeps a device's id in the user's cache), MLflow
and Ray of what is called, and huggingface_hub of what it is used in. Each reads its switch when
it is imported, so this comes first: importing any part of the package is enough, also in the
processes that it starts, which inherit the variables.
"""

import os
import sys

# The only way back: with it, the switches are left as whoever runs the program has set them.
OPT_IN = "DERMA_TELEMETRY"
SWITCHES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    # What others have agreed on, https://consoledonottrack.com; MLflow knows this spelling only.
    "DO_NOT_TRACK": "true",
}
_YES = frozenset({"1", "true", "yes", "on"})


def switch_off() -> None:
    """Turn all of it off, whatever the environment says, unless ``$DERMA_TELEMETRY`` is 1."""
    if os.environ.get(OPT_IN, "").strip().lower() in _YES:
        return
    os.environ.update(SWITCHES)
    # For who has imported it before. MLflow and Ray look at their variable each time.
    if runtime := sys.modules.get("onnxruntime"):
        runtime.disable_telemetry_events()
