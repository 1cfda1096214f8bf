"""Methods are values: which ways old behaviour enters, and what learns."""
