"""What all four stages share, one topic a module. Nothing here imports torch."""
