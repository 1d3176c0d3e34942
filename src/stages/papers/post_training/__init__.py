"""Post-training: how a language model that has read is brought to answer, to follow and
to reason.
"""
