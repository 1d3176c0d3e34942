"""`python -m stages` is the command `stages`."""

from stages.cli import main

if __name__ == "__main__":
    main()
