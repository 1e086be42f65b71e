"""Motifs: the patterns of factors, where sequence matches them, and whether the model uses the match."""
