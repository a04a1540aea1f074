"""The servers our service is measured against, each set up as its own documentation says."""
