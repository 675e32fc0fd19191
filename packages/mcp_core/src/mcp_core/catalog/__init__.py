"""The node's own resources and prompts, each owned by a person: rules, what is kept, and how it is read."""
