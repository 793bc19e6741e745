"""What is said about a face: the prompts of each expression."""
