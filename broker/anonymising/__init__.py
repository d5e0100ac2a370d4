"""Real messages into test messages: same shape, length and characters, other people. Pure: bytes and a key in, bytes out."""
