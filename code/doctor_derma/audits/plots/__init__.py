"""One file a figure of an audit."""
