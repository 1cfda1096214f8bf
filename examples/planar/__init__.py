"""A planar pusher in NumPy, from recordings in three formats to a policy that is called."""
