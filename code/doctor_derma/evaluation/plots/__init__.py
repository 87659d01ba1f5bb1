"""Figures of an evaluation, drawn without pyplot."""
