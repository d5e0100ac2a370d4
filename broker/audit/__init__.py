"""The trail: entries in the transaction of what they tell, sealed in a hash chain, verified with or without a server."""
