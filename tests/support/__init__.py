"""What tests share: doubles of the outside, and short ways to say what a test is about."""
