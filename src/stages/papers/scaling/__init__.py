"""Growing and shrinking networks: one training serves more than one size."""
