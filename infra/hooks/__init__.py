"""What azd runs before and after: nothing but the standard library, since nothing else need be installed there."""
