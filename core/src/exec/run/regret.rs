//! What becomes of what is taken back: others may have seen it.

use super::{
    host::Host,
    references::{ByValues, Guard, Slot, Stage},
    refusal::standing,
    write::{Change, Write},
    write_set::Final,
    writer::Writer,
};
use crate::{
    Error,
    data::{Row, codec},
    exec::references::encoded,
    map::{LargeMap, Map},
};

impl Guard {
    /// All is taken back. Others may refer to rows that were there for a moment: these are looked for.
    pub(super) fn regret(&mut self, host: &mut Host, error: Error) -> Result<(), Error> {
        (self.lost, self.found) = (Map::new(), Vec::new());
        for (_, Final { old, new }) in self.finals(0).unwrap_or_default() {
            if old.is_none() {
                self.lose(0, &Final { old: new, new: None });
            }
        }
        if self.lost.is_empty() || self.look_for_children(host).is_err() {
            return Err(error);
        }
        self.stage = Stage::Regretting(error);
        Ok(())
    }

    /// The rows that others refer to stand after all.
    pub(super) fn restore(&mut self, error: Error) -> Result<(), Error> {
        self.only_lost();
        let (target, keys) = (&self.references.tables[0].target, &self.references.keys);
        let mut referred: ByValues<()> = Map::new();
        for (key, row) in &self.found {
            if let Some(value) = encoded(row, &keys[*key].columns) {
                referred.entry(*key).or_default().insert(value, ());
            }
        }
        let (mut writer, mut stand) = (Writer::new(target), Vec::new());
        writer.hold(self.slots.len());
        for (key, Final { old, new }) in self.finals(0)? {
            // What refers to nothing itself does not come back.
            let doomed = self.slots.iter().any(|slot| slot.table == 0 && slot.writer.is_doomed(&key));
            let Some(row) = new.filter(|_| old.is_none() && !doomed) else { continue };
            let is_to = |at: &usize| encoded(&row, &keys[*at].to);
            if referred.iter().any(|(at, values)| is_to(at).is_some_and(|value| values.get(&value).is_some())) {
                writer.push(Write::new(key.clone(), Change::Insert(codec::encode_row(&row)), stand.len(), None));
                stand.push(key);
            }
        }
        let error = standing(target, error, &[], &stand);
        if stand.is_empty() {
            return Err(error);
        }
        self.slots.push(Slot { table: 0, writer });
        self.stage = Stage::Restoring(error);
        Ok(())
    }

    /// Rows that refer to nothing do not stand, even if somebody else changes them before they are taken back.
    pub(super) fn doom(&mut self) {
        for table in 0..self.references.tables.len() {
            for (key, change) in self.finals(table).unwrap_or_default() {
                let Some(row) = change.new else { continue };
                let nothing = |(at, needed): (&usize, &LargeMap<Vec<u8>, Row>)| {
                    let of = &self.references.keys[*at];
                    let value =
                        encoded(&row, &of.columns).filter(|value| of.child == table && needed.get(value).is_some());
                    value.is_some_and(|value| self.there.get(at).is_none_or(|there| there.get(&value).is_none()))
                };
                if self.needed.iter().any(nothing) {
                    let slots = self.slots.iter_mut().filter(|slot| slot.table == table);
                    slots.for_each(|slot| slot.writer.doom(&key));
                }
            }
        }
    }
}
