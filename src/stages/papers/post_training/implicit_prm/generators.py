"""The generator: a base model that has read prose, and then worked solutions."""


def make_generator(seed):
    raise NotImplementedError
