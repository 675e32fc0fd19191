"""The live view of a node's actors, as Erlang's observer shows them: pure pictures, and a screen that draws them."""
