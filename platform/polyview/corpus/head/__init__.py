"""A human head from mathematics alone: its surface, who it belongs to, how it moves, how it is coloured."""
