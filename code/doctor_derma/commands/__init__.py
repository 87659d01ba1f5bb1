"""The command line, ``derma``: one file per command, which joins the packages below."""
