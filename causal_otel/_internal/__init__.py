"""What nobody owns: faults, the one fork hook, our log, the types of settings, what a secret looks like."""
