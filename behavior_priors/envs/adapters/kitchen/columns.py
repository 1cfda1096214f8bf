"""What lies where in the vector of gymnasium-robotics' kitchen, without loading that."""

COLUMNS = {
    "robot": slice(0, 9),
    "robot_velocity": slice(9, 18),
    "objects": slice(18, 39),
    "object_velocity": slice(39, 59),
}
"""The arrays in the vector `[59]` that gymnasium-robotics' kitchen observes."""
