"""What all studies share: the interface of a study, its plots and its stored arrays."""
