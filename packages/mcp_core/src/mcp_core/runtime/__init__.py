"""Actors on pykka: refs, mailboxes, supervision, registry, and the commit of event-sourced state."""
