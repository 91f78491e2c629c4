"""What the stages share, one topic a module."""
