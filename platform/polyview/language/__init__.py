"""What is said about a face: the prompts of each expression, and pseudo-labels where no label may be read.

In: a recipe's expressions; embeddings of faces and prompts. Out: prompts and pseudo-labels. Read `prompts.py` first.
"""
