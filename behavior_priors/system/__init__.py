"""What the operating system, files of others and XLA may do, and what is done about it."""
