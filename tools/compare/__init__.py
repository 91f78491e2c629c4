"""Compare the evidence of two revisions: what changed, is it real, and what does it look like."""
