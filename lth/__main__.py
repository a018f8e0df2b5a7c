"""``python -m lth`` is the command ``lth``."""

from lth.interrupt import install


def main() -> None:
    """Run the command; its imports take seconds, so Ctrl-C is heard before them."""
    install()
    from lth.cli import main as command

    command()


if __name__ == "__main__":
    main()
