//! The ledger's real migrations and statements on the engine.

use ledger::ports::Value;

use super::rig::{Rig, day, id, image, shown_id, text};

const PROPERTY: u128 = 0x100;
const TYPE: u128 = 0x200;
const ROOM: u128 = 0x300;

/// One property, one room type of two rooms, ten nights.
pub fn furnished() -> Rig {
    let mut rig = Rig::new(image());
    rig.begin("seed");
    assert_eq!(
        rig.run("seed", "add_property", &[id(PROPERTY), text("Hotel")]),
        "1"
    );
    assert_eq!(
        rig.run(
            "seed",
            "add_room_type",
            &[id(TYPE), id(PROPERTY), text("Double")]
        ),
        "1"
    );
    for room in 0..2 {
        assert_eq!(
            rig.run(
                "seed",
                "add_room",
                &[id(ROOM + room), id(TYPE), text(&format!("10{room}"))]
            ),
            "1"
        );
    }
    for night in 0..10 {
        assert_eq!(
            rig.run(
                "seed",
                "add_night",
                &[id(TYPE), day(night), Value::Int(2), Value::Int(0)]
            ),
            "1"
        );
    }
    assert_eq!(rig.commit("seed"), "0");
    rig.close("seed");
    rig
}

#[test]
fn a_hold_takes_its_path_through_every_statement() {
    let mut rig = furnished();
    let stay = [id(TYPE), day(1), day(3)];
    rig.begin("a");
    assert_eq!(
        rig.run("a", "hold_claim_key", &[text("k1"), text("h"), id(1)]),
        shown_id(1)
    );
    assert_eq!(
        rig.run("a", "hold_lock_nights", &stay),
        "2026-03-03;2026-03-04"
    );
    assert_eq!(
        rig.run("a", "hold_reserve_nights", &stay),
        "2026-03-03;2026-03-04"
    );
    assert_eq!(
        rig.run(
            "a",
            "hold_insert",
            &[
                id(1),
                id(TYPE),
                day(1),
                day(3),
                text("web"),
                Value::Int(600)
            ]
        ),
        "2026-03-02 00:10:00+00"
    );
    assert_eq!(
        rig.run(
            "a",
            "outbox_insert",
            &[id(1), text("allocation.held.v1"), text("{}")]
        ),
        "1"
    );
    assert_eq!(rig.commit("a"), "0");
    rig.begin("a");
    assert_eq!(
        rig.run("a", "availability", &[id(TYPE), day(0), day(3)]),
        "2026-03-02|2|f;2026-03-03|1|f;2026-03-04|1|f"
    );
    assert_eq!(
        rig.run("a", "free_rooms", &stay),
        format!("{};{}", shown_id(ROOM), shown_id(ROOM + 1))
    );
    assert_eq!(
        rig.run("a", "confirm_allocation", &[id(1)]),
        format!("{}|2026-03-03|2026-03-05", shown_id(TYPE))
    );
    assert_eq!(rig.run("a", "confirm_nights", &stay), "2");
    assert_eq!(rig.run("a", "assign_room", &[id(1), id(ROOM)]), "1");
    assert_eq!(rig.run("a", "free_rooms", &stay), shown_id(ROOM + 1));
    assert_eq!(rig.commit("a"), "0");
    assert_eq!(
        rig.run("ledger_worker#", "outbox_batch", &[Value::Int(10)]),
        format!(
            "1|{}|{}|allocation.held.v1|{{}}|2026-03-02 00:00:00+00|00:00:00",
            shown_id(0xA),
            shown_id(1)
        )
    );
    assert_eq!(
        rig.run("ledger_worker#", "outbox_published", &[Value::Int(1)]),
        "1"
    );
    assert_eq!(
        rig.run("ledger_worker#", "outbox_batch", &[Value::Int(10)]),
        "0"
    );
    assert_eq!(
        rig.run("ledger_worker#", "server_state", &[]),
        "f|1|2026-03-02 00:00:00+00"
    );
}
