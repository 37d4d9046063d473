//! One service as a register: how it stands, and what each move makes of that.

use std::fmt;

use crate::Seen;

/// How a service stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    stands: Stands,
    /// The newest revision that is known to have been made of it.
    newest: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Stands {
    Absent,
    Declared(Declared),
    /// No longer looked after, and remembered.
    Freed(Declared),
    /// Being torn down; gone at any moment.
    Destroying(Declared),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Declared {
    value: u64,
    at: At,
}

/// The revision of a declaration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum At {
    Known(u64),
    /// Nobody was told it; a later one than this.
    After(u64),
}

/// What a call does at the one moment at which it takes effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    /// A declaration that is new; none: nobody was told the revision.
    Commit { value: u64, if_revision: Option<u64>, told: Option<u64> },
    /// A declaration that stood already.
    Confirm { value: u64, if_revision: Option<u64>, revision: u64 },
    /// Nothing, for it stood at another revision.
    Differ { demanded: u64, stands_at: u64 },
    /// The service is left.
    Free { told: Option<u64> },
    /// The service is being torn down.
    Destroy { told: Option<u64> },
    /// It is not being torn down (any more).
    Gone,
    /// A look.
    See(Option<Seen>),
    /// Neither declared nor freed.
    Miss,
}

impl Move {
    /// The revision that it is known to have made.
    pub(super) fn revision(&self) -> Option<u64> {
        match self {
            Self::Commit { told, .. } | Self::Free { told } | Self::Destroy { told } => *told,
            _ => None,
        }
    }
}

impl State {
    /// Nobody knows it.
    pub(super) const NEW: Self = Self { stands: Stands::Absent, newest: 0 };

    /// What may come of a move; nothing: it cannot be made here. What is being torn down may be gone first.
    pub(super) fn after(self, made: &Move) -> impl Iterator<Item = Self> {
        let gone =
            matches!(self.stands, Stands::Destroying(_)).then_some(Self { stands: Stands::Absent, ..self });
        [Some(self), gone].into_iter().flatten().filter_map(move |state| state.moved(made))
    }

    fn moved(self, made: &Move) -> Option<Self> {
        match (*made, self.stands) {
            (Move::Commit { .. }, Stands::Destroying(_)) => None,
            (Move::Commit { value, if_revision, told }, _) => {
                let before = self.demanded(if_revision)?;
                let at = told.map_or(At::After(before.newest), At::Known);
                before.wrote(told)?.stands(Stands::Declared(Declared { value, at }))
            }
            (Move::Confirm { value, if_revision, revision }, Stands::Declared(now)) if now.value == value => {
                self.demanded(if_revision)?.known(revision)
            }
            (Move::Differ { demanded, stands_at: 0 }, Stands::Absent | Stands::Freed(_)) => {
                (demanded != 0).then_some(self)
            }
            (Move::Differ { demanded, stands_at }, Stands::Declared(_) | Stands::Destroying(_)) => {
                if demanded == stands_at { None } else { self.known(stands_at) }
            }
            (Move::Free { told }, Stands::Declared(now)) => self.wrote(told)?.stands(Stands::Freed(now)),
            (
                Move::Destroy { told },
                Stands::Declared(now) | Stands::Freed(now) | Stands::Destroying(now),
            ) => self.wrote(told)?.stands(Stands::Destroying(now)),
            (Move::Gone, Stands::Destroying(_)) | (Move::See(Some(_)), Stands::Absent | Stands::Freed(_)) => {
                None
            }
            (Move::Gone, _)
            | (Move::See(None), Stands::Absent | Stands::Freed(_))
            | (Move::Miss, Stands::Absent) => Some(self),
            (Move::See(Some(seen)), Stands::Declared(now)) if now.value == seen.value && !seen.destroying => {
                self.known(seen.revision)
            }
            (Move::See(Some(seen)), Stands::Destroying(now))
                if now.value == seen.value && seen.destroying =>
            {
                self.known(seen.revision)
            }
            _ => None,
        }
    }

    fn stands(self, stands: Stands) -> Option<Self> {
        Some(Self { stands, ..self })
    }

    /// A write makes a newer revision than all before.
    fn wrote(self, told: Option<u64>) -> Option<Self> {
        match told {
            Some(revision) if revision <= self.newest => None,
            Some(newest) => Some(Self { newest, ..self }),
            None => Some(self),
        }
    }

    /// Where it stands at the revision that was demanded.
    fn demanded(self, if_revision: Option<u64>) -> Option<Self> {
        match (if_revision, self.stands) {
            (None, _) | (Some(0), Stands::Absent | Stands::Freed(_)) => Some(self),
            (Some(0), _) | (Some(_), Stands::Absent | Stands::Freed(_)) => None,
            (Some(revision), _) => self.known(revision),
        }
    }

    /// Where the declaration is of this revision.
    fn known(self, revision: u64) -> Option<Self> {
        let (Stands::Declared(now) | Stands::Destroying(now)) = self.stands else { return None };
        match now.at {
            At::Known(known) => (known == revision).then_some(self),
            At::After(older) if revision > older => {
                let now = Declared { at: At::Known(revision), ..now };
                let stands = match self.stands {
                    Stands::Destroying(_) => Stands::Destroying(now),
                    _ => Stands::Declared(now),
                };
                Some(Self { stands, newest: self.newest.max(revision) })
            }
            At::After(_) => None,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (word, declared) = match self.stands {
            Stands::Absent => return f.write_str("absent"),
            Stands::Declared(declared) => ("declared", declared),
            Stands::Freed(declared) => ("freed", declared),
            Stands::Destroying(declared) => ("being torn down", declared),
        };
        write!(f, "{word} with value {}", declared.value)?;
        match declared.at {
            At::Known(revision) => write!(f, " at revision {revision}"),
            At::After(revision) => write!(f, " at a revision after {revision}"),
        }
    }
}
