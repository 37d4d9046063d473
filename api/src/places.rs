//! Where things are found when nobody says: the plugins directory and the state directory.
