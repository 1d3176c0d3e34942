"""Vision and language: what a model of pictures and words knows from pre-training, and
how it is adapted without losing it.
"""
