"""What a grid-free reduced model is worth, part by part; ``run/bench/reduced_model.py`` runs them."""
