"""The command line, ``derma``: a file for a command or a few, which joins the packages below."""
