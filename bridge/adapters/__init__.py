"""The outside: thin translations between the bridge's protocols and the libraries that speak to the world."""
