"""How things are named as data: specs, names, trust."""
