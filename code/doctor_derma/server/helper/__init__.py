"""A process beside the server in which a picture may take too much without anybody noticing."""
