"""What is made of what the instruments saw: figures, verdicts, tables."""
