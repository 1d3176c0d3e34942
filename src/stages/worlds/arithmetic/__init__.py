"""Arithmetic in any base, written in several ways for a model to learn.

Problems are digits first and text second: `sample` draws operands, `Problems` solves
them exactly at any length, and `write` puts them into the characters of "Teaching
Arithmetic to Small Transformers" (Lee et al. 2024); `read` takes the result out of what
a model has written.
"""

from stages.worlds.arithmetic.problems import OPERATIONS, Problems, lengths, sample
from stages.worlds.arithmetic.writing import FORMS, Lines, read, vocabulary, write

__all__ = [
    "FORMS",
    "OPERATIONS",
    "Lines",
    "Problems",
    "lengths",
    "read",
    "sample",
    "vocabulary",
    "write",
]
