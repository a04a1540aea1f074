"""The command line `hourglass-train`."""
