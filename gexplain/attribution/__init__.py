"""Attribution: why the model said so, as one number per token and per nucleotide."""
