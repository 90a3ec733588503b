"""Who owns what and what that entitles them to, derived from dates and facts."""
