"""The command line `hourglass`."""
