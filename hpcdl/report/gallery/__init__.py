"""The pictures of a report on runs: what the analyses found, arranged for the eye. One module for each subject."""
