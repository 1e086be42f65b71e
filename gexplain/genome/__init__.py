"""The genome side: intervals, BED, FASTA, chromosome names, tracks. Numpy only; no model is known here."""
