"""The one door: sessions, the router of commands, the guard of tool calls, followers, and clients."""
