"""What a person at the terminal is told: errors in a line, how far work is, and durations."""
