"""``python -m lth`` is the command ``lth``."""

from lth.cli import main

if __name__ == "__main__":
    main()
