"""A synthetic world: hands, objects, lights and cameras drawn at random, with exact labels."""
