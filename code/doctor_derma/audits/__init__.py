"""What a headline figure hides: for whom, under which conditions and why a model is right."""
