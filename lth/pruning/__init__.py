"""Scores, rules, searches, rewinding, masks that change on the way."""
