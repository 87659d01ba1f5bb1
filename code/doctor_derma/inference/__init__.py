"""A bundle classifies pictures: without torch, for server, client, Ray and audits alike."""
