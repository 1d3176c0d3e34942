"""What the papers on continual learning share: streams of tasks, task loops, penalties,
prompts, and their measures. Each name is imported from the module that defines it.
"""
