"""A service that rates the risk of a company's suppliers."""
