"""`room-agent`, also `python -m agent`."""

import sys


def main() -> int:
    """Runs the command line and gives its exit code; the import is late so that starting stays quick."""
    from agent.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
