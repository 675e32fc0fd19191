"""The agents that come with the house, the actor that hosts any agent, and the directory of them all."""
