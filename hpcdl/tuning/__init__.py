"""Finding the settings of speed that suit a node: which to try, what each was worth, and where they are kept."""
