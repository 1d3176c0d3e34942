"""Continual learning: tasks come one after another, and the old ones are to be kept."""
