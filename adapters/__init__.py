"""Built-in adapters: one protocol a file, both directions. Found by the entry points `carnet.adapters`."""
