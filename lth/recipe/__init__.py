"""How a network trains: recipe, schedules, losses."""
