"""``python -m doctor_derma`` is ``derma``."""

from doctor_derma.commands.app import main

main()
