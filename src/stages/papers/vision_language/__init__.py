"""Vision and language: two towers that learn from pictures with captions, and what they
take to know a class by its name.
"""
