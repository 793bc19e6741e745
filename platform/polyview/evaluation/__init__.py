"""What the embeddings are worth: probes on the faces of test subjects, whom pretraining never saw.

In: embeddings of training and test subjects. Out: scores and confusion matrices. Read `protocols.py` first.
"""
