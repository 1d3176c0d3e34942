"""What papers of this chapter share."""
