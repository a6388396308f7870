"""What the schedule is worth, in simulations; needs NumPy, which nothing that is deployed does."""
