"""Built-in queues behind one contract. Found by the entry points `carnet.queues`."""
