"""A package, so that pytest ends the clusters and stores that its tests share with the last of them."""
