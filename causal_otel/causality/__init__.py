"""What a trace's time was spent on, and who waited for whom."""
