"""What Hourglass claims of its speed, re-measured beside its floors and its peers in one run."""
