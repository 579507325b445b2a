"""Progress by a recurrent state over snippets."""
