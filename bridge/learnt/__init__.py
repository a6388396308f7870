"""The learnt schedule: how long operations take, and when to poll next."""
