"""`room-agent`, also `python -m agent`."""

import sys


def main() -> int:
    """The command line."""
    from agent.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
