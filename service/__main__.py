"""Run the command line: `python -m service` is `hourglass`."""

from service.cli.start import main

if __name__ == "__main__":
    main()
