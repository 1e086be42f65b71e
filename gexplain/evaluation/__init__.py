"""Evaluation: does relevance say what is known to be true?"""
