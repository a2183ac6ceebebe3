"""The ground floor: language, models, chips, programs, tick semantics. Imports nothing of ours."""
