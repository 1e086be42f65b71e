"""A run on many machines, by Snakemake: the workflow's files, and what its config.yaml may say."""
