"""The command line's start, as `polyview VERB …` or as `python -m polyview VERB …` by the Python of a job's cluster."""

import signal


def main() -> None:
    """Run the command line of this process."""
    # Until it has its own way to end, Ctrl-C ends it as it ends any program: its imports take a second or two.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from polyview.cli import main as run

    # A Ray that was started in the background has all that it starts ignore Ctrl-C, which is how a job is stopped.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


if __name__ == "__main__":
    main()
