"""Run the command line: `python -m training` is `hourglass-train`."""

from training.cli.commands import main

if __name__ == "__main__":
    main()
