"""Search: Optuna proposes points of a declared space, trials value them on validation questions."""
