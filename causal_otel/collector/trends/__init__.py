"""What sums over hours and days tell: figures for pages, the command line and agents, all over one ``TraceReader``."""
