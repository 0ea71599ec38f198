"""Settings and the task taxonomy: YAML files and the one loader for them."""
