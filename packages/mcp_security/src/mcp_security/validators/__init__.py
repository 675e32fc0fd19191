"""Gates: each acts on one kind of resource, and only within the pattern of the right that allowed it."""
