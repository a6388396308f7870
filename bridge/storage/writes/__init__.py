"""The steps: each takes the read rows and the decision, and returns one transaction.

Nothing here reads, writes or waits. The guarantee of a step is visible in one place, and a crash can only happen before
or after it. ARCHITECTURE.md lists the number of rows that each step writes, and a test compares the numbers.
"""
