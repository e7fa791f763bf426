"""The micro models: recipes, corpus and pretraining."""
