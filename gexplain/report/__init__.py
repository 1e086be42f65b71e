"""Reports: what a person opens after a run."""
