"""Other model servers, each set up as its documentation says."""
