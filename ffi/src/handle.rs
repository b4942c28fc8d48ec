//! The hold of C on an election: a pointer to a type that it knows by its name alone. So an event can name an election without
//! knowing what it consists of.

/// One candidate in one election.
pub struct el_election {
    _opaque: [u8; 0],
}
