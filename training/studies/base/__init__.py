"""Parts that all studies share: the interface of a study, the style of the plots, and arrays stored in JSON."""
