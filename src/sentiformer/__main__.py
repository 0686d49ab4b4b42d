"""`python -m sentiformer` is the command `sentiformer`."""

from sentiformer.cli import main

if __name__ == "__main__":
    main()
