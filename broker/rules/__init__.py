"""The rules: who may see what, what may be filed, what goes where. Pure; every answer names its rule and version."""
