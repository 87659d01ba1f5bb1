"""The command line, ``derma``: one file a command, which joins the rooms."""
