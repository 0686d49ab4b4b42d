"""The command `sentiformer`, also `python -m sentiformer`."""

from sentiformer.console.interrupt import install_interrupt_handler


def main() -> None:
    """Run the command line; Ctrl-C ends it with one line, also while it still imports."""
    install_interrupt_handler()
    from sentiformer.cli import main as run

    run()


if __name__ == "__main__":
    main()
