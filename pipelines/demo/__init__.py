"""The demo: the whole product on one machine, on imagery of the whole world."""
