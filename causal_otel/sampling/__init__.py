"""Which traces are recorded: rules made from strategies, and what keeps them up to date while the program runs."""
