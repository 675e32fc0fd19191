"""Plans: work that is laid out first, allowed by a person, and then carried out with rights that end with it."""
