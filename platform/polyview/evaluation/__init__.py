"""What the embeddings are worth: probes on faces of people that pretraining never saw."""
