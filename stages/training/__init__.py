"""What the stage train alone uses."""
