"""The browser edition: a static site whose page asks a model in the browser."""
