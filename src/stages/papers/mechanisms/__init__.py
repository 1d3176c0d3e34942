"""Inside language models: what a transformer computes, and which of its parts decide
it.
"""
