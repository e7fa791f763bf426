"""Every agent scored alone, through lm-eval and EvalPlus's rules, or all agents answering jointly."""
