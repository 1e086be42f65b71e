"""Training: from labelled regions or sequences to a checkpoint that `score` reads."""
