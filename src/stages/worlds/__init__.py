"""Where data comes from: one module a world, deterministic by seed, nothing downloaded
unless it is asked for.
"""
