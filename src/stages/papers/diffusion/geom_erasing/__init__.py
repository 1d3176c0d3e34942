"""Geom-Erasing (Liu et al. 2024): name the unnamed, and say where it is."""
