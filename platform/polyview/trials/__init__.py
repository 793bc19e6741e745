"""Trials: which ones a study asks for, and how each is run."""
