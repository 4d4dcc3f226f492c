"""What is released: the wheel and the sdist."""
