"""The steps: each takes what was read and decided, and returns one transaction.

Nothing here reads, writes or waits. What a step promises is visible in one place, and a crash can only fall before
or after it. The entities that each one writes are counted in ARCHITECTURE.md, and a test counts them again.
"""
