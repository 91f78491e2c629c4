"""What tests share: tests import it, never each other."""
