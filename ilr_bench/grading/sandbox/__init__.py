"""The jail for programs that models wrote (docs/jail.md). Imports nothing: its launcher must stay small."""
