"""One module per dataset: `scan` finds its faces, `load` reads one of them."""
