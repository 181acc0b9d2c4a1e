//! What stands in the database before the first operation: tenants, properties, room types, rooms and their nights.
//!
//! Invariant: each room type has as many rooms as capacity, so that a booking can always be given a room unless stays are badly
//! packed; the calendar reaches beyond the longest stay of the last night that is sold.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{Stream, Workload};

/// First night of the calendar: 2026-03-02 in days since 1970-01-01, the day on which every run begins.
pub const FIRST_NIGHT: i32 = 20_514;

/// The hotels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fixtures {
    /// Who owns what.
    pub tenants: Vec<Tenant>,
    /// First night of each room type's calendar, in days since 1970-01-01.
    pub first_night: i32,
    /// Number of nights of each room type's calendar.
    pub nights: u16,
}

/// A customer of the service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id.
    pub id: Uuid,
    /// Its hotels.
    pub properties: Vec<Property>,
}

/// A hotel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Property {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What it sells.
    pub room_types: Vec<RoomType>,
}

/// A kind of room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RoomType {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// Rooms that may be sold on each night, before the policy.
    pub capacity: u16,
    /// Rooms that may be sold above `capacity`.
    pub policy_extra: u16,
    /// Its rooms.
    pub rooms: Vec<Room>,
}

/// A room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Its id.
    pub id: Uuid,
    /// Its number at the door.
    pub number: String,
}

impl Fixtures {
    /// Each room type with its tenant, in the order of the fixtures.
    pub fn room_types(&self) -> impl Iterator<Item = (Uuid, &RoomType)> {
        self.tenants.iter().flat_map(|tenant| {
            let properties = tenant.properties.iter();
            properties
                .flat_map(move |property| property.room_types.iter().map(|kind| (tenant.id, kind)))
        })
    }
}

/// Capacities of the room types: tenant → property → room type.
type Layout = &'static [&'static [&'static [u16]]];

/// Three tenants, four properties, ten room types.
const HOTELS: Layout = &[&[&[4, 24, 60], &[6, 30]], &[&[8, 40, 12]], &[&[5, 45]]];

/// One tenant's small house, where rooms are fought for, and a second tenant beside it.
const SMALL_HOUSE: Layout = &[&[&[1, 1, 2]], &[&[6]]];

/// Lays the hotels out for a workload.
pub(super) fn lay_out(seed: u64, workload: &Workload) -> Fixtures {
    let (layout, nights) = match workload {
        Workload::HealthyDay { .. } => (HOTELS, 395),
        Workload::Steady { .. } => (HOTELS, 120),
        Workload::LastRoom { .. } => (SMALL_HOUSE, 395),
        Workload::SweepVsConfirm { .. } => (HOTELS, 120),
        Workload::HotRow { .. } => (HOTELS, 60),
    };
    let mut ids = Stream::new(seed, "fixtures");
    let mut property_number = 0;
    let tenants = layout
        .iter()
        .map(|properties| Tenant {
            id: ids.uuid(),
            properties: properties
                .iter()
                .map(|capacities| {
                    property_number += 1;
                    property(&mut ids, property_number, capacities)
                })
                .collect(),
        })
        .collect();
    Fixtures {
        tenants,
        first_night: FIRST_NIGHT,
        nights,
    }
}

fn property(ids: &mut Stream, number: u32, capacities: &[u16]) -> Property {
    Property {
        id: ids.uuid(),
        name: format!("House {number}"),
        room_types: capacities
            .iter()
            .enumerate()
            .map(|(floor, &capacity)| RoomType {
                id: ids.uuid(),
                name: format!("House {number}, category {}", floor + 1),
                capacity,
                policy_extra: 0,
                rooms: (1..=capacity)
                    .map(|room| Room {
                        id: ids.uuid(),
                        number: format!("{}{room:02}", floor + 1),
                    })
                    .collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::EPOCH_UNIX_S;

    #[test]
    fn the_calendar_begins_on_the_day_of_the_run() {
        assert_eq!(i64::from(FIRST_NIGHT), EPOCH_UNIX_S / 86_400);
    }

    #[test]
    fn every_room_type_has_as_many_rooms_as_it_sells() {
        let fixtures = lay_out(
            1,
            &Workload::HealthyDay {
                requests: 1000,
                holds: 100,
            },
        );
        assert_eq!(fixtures.tenants.len(), 3);
        assert_eq!(fixtures.room_types().count(), 10);
        for (_, kind) in fixtures.room_types() {
            assert_eq!(kind.rooms.len(), usize::from(kind.capacity));
        }
    }
}
