"""The contracts of Umbrella: structs, protocols, errors and the codec. Depends on msgspec alone; does no I/O."""
