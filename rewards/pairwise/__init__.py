"""Progress by signed hops between two frames."""
