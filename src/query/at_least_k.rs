//! `at_least_k`: whether a group has at least `k` distinct subjects, in memory bounded by `k` per group.
//!
//! An exact distinct count of subjects costs 5 to 260 times the plain aggregate; nobody needs it. A group remembers
//! its first subjects until it has `k`, then only that it is big enough.

use std::{mem::size_of, sync::Arc};

use arrow::{
    array::{Array, ArrayRef, AsArray, BooleanArray, BooleanBuilder, ListBuilder, UInt64Array, UInt64Builder},
    datatypes::{DataType, Field, FieldRef, UInt64Type},
};
use datafusion::{
    common::ScalarValue,
    error::{DataFusionError, Result},
    logical_expr::{
        Accumulator, AggregateUDFImpl, EmitTo, GroupsAccumulator, Signature, Volatility,
        function::{AccumulatorArgs, StateFieldsArgs},
    },
};

/// The aggregate for one `k`. Its argument is the hidden subject column; a missing subject does not count.
#[derive(Debug, PartialEq, Eq, Hash)]
pub(super) struct AtLeastK {
    k: usize,
    name: String,
    signature: Signature,
}

impl AtLeastK {
    pub(super) fn new(k: u32) -> Self {
        Self {
            k: k as usize,
            name: format!("__odh_at_least_{k}"),
            signature: Signature::exact(vec![DataType::UInt64], Volatility::Immutable),
        }
    }
}

impl AggregateUDFImpl for AtLeastK {
    fn name(&self) -> &str {
        &self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Boolean)
    }

    fn is_nullable(&self) -> bool {
        false
    }

    fn default_value(&self, _: &DataType) -> Result<ScalarValue> {
        Ok(ScalarValue::Boolean(Some(false)))
    }

    fn state_fields(&self, args: StateFieldsArgs<'_>) -> Result<Vec<FieldRef>> {
        Ok(vec![
            Arc::new(Field::new(format!("{}_full", args.name), DataType::Boolean, false)),
            Arc::new(Field::new(format!("{}_subjects", args.name), list_type(), true)),
        ])
    }

    fn accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn Accumulator>> {
        Ok(Box::new(One { k: self.k, group: Group::default() }))
    }

    fn groups_accumulator_supported(&self, _: AccumulatorArgs<'_>) -> bool {
        true
    }

    fn create_groups_accumulator(&self, _: AccumulatorArgs<'_>) -> Result<Box<dyn GroupsAccumulator>> {
        Ok(Box::new(Many { k: self.k, groups: Vec::new(), remembered: 0 }))
    }
}

fn list_type() -> DataType {
    DataType::List(Arc::new(Field::new_list_field(DataType::UInt64, true)))
}

/// The first distinct subjects of a group, sorted; empty and `full` once there are `k`.
#[derive(Debug, Default, Clone)]
struct Group {
    full: bool,
    subjects: Vec<u64>,
}

impl Group {
    /// Remembers `subject`; returns by how many the remembered ones grew (or shrank).
    fn add(&mut self, k: usize, subject: u64) -> isize {
        if self.full {
            return 0;
        }
        let Err(place) = self.subjects.binary_search(&subject) else { return 0 };
        self.subjects.insert(place, subject);
        if self.subjects.len() >= k { self.fill() } else { 1 }
    }

    fn fill(&mut self) -> isize {
        let forgotten = self.subjects.len().cast_signed();
        *self = Self { full: true, subjects: Vec::new() };
        // The one that filled it was never counted as remembered.
        1 - forgotten
    }
}

#[derive(Debug)]
struct One {
    k: usize,
    group: Group,
}

impl Accumulator for One {
    fn update_batch(&mut self, values: &[ArrayRef]) -> Result<()> {
        for subject in column(values, 0)?.as_primitive::<UInt64Type>().iter().flatten() {
            self.group.add(self.k, subject);
        }
        Ok(())
    }

    fn merge_batch(&mut self, states: &[ArrayRef]) -> Result<()> {
        let (full, lists) = (column(states, 0)?.as_boolean(), column(states, 1)?.as_list::<i32>());
        for row in 0..full.len() {
            if full.value(row) {
                self.group.fill();
            }
            for subject in lists.value(row).as_primitive::<UInt64Type>().iter().flatten() {
                self.group.add(self.k, subject);
            }
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<ScalarValue> {
        Ok(ScalarValue::Boolean(Some(self.group.full)))
    }

    fn state(&mut self) -> Result<Vec<ScalarValue>> {
        let subjects: Vec<_> = self.group.subjects.iter().map(|subject| ScalarValue::UInt64(Some(*subject))).collect();
        let list = ScalarValue::new_list_nullable(&subjects, &DataType::UInt64);
        Ok(vec![ScalarValue::Boolean(Some(self.group.full)), ScalarValue::List(list)])
    }

    fn size(&self) -> usize {
        size_of::<Self>() + self.group.subjects.capacity() * size_of::<u64>()
    }
}

struct Many {
    k: usize,
    groups: Vec<Group>,
    /// How many subjects all groups remember, for [`GroupsAccumulator::size`].
    remembered: isize,
}

impl Many {
    fn take(&mut self, emit: EmitTo) -> Vec<Group> {
        let taken = emit.take_needed(&mut self.groups);
        self.remembered -= taken.iter().map(|group| group.subjects.len().cast_signed()).sum::<isize>();
        taken
    }
}

impl GroupsAccumulator for Many {
    fn update_batch(
        &mut self,
        values: &[ArrayRef],
        groups: &[usize],
        filter: Option<&BooleanArray>,
        total: usize,
    ) -> Result<()> {
        self.groups.resize_with(total.max(self.groups.len()), Group::default);
        let subjects = column(values, 0)?.as_primitive::<UInt64Type>();
        for (row, group) in groups.iter().enumerate() {
            if subjects.is_valid(row) && passes(filter, row) {
                self.remembered += self.groups[*group].add(self.k, subjects.value(row));
            }
        }
        Ok(())
    }

    fn merge_batch(&mut self, values: &[ArrayRef], groups: &[usize], total: usize) -> Result<()> {
        self.groups.resize_with(total.max(self.groups.len()), Group::default);
        let (full, lists) = (column(values, 0)?.as_boolean(), column(values, 1)?.as_list::<i32>());
        for (row, group) in groups.iter().enumerate() {
            let group = &mut self.groups[*group];
            if full.value(row) && !group.full {
                self.remembered += group.fill() - 1;
            }
            if lists.is_valid(row) {
                for subject in lists.value(row).as_primitive::<UInt64Type>().iter().flatten() {
                    self.remembered += group.add(self.k, subject);
                }
            }
        }
        Ok(())
    }

    fn evaluate(&mut self, emit: EmitTo) -> Result<ArrayRef> {
        let full: BooleanArray = self.take(emit).iter().map(|group| Some(group.full)).collect();
        Ok(Arc::new(full))
    }

    fn state(&mut self, emit: EmitTo) -> Result<Vec<ArrayRef>> {
        let mut full = BooleanBuilder::new();
        let mut lists = ListBuilder::new(UInt64Builder::new());
        for group in self.take(emit) {
            full.append_value(group.full);
            lists.values().append_slice(&group.subjects);
            lists.append(true);
        }
        Ok(vec![Arc::new(full.finish()), Arc::new(lists.finish())])
    }

    fn convert_to_state(&self, values: &[ArrayRef], filter: Option<&BooleanArray>) -> Result<Vec<ArrayRef>> {
        let subjects: &UInt64Array = column(values, 0)?.as_primitive();
        let mut lists = ListBuilder::new(UInt64Builder::new());
        for row in 0..subjects.len() {
            if subjects.is_valid(row) && passes(filter, row) {
                lists.values().append_value(subjects.value(row));
            }
            lists.append(true);
        }
        // k is at least 2, so that no single row fills a group.
        Ok(vec![Arc::new(BooleanArray::from(vec![false; subjects.len()])), Arc::new(lists.finish())])
    }

    fn size(&self) -> usize {
        self.groups.capacity() * size_of::<Group>() + self.remembered.unsigned_abs() * 2 * size_of::<u64>()
    }
}

fn passes(filter: Option<&BooleanArray>, row: usize) -> bool {
    filter.is_none_or(|filter| filter.is_valid(row) && filter.value(row))
}

fn column(values: &[ArrayRef], at: usize) -> Result<&ArrayRef> {
    values.get(at).ok_or_else(|| DataFusionError::Internal("at_least_k got too few columns".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn many(k: usize) -> Many {
        Many { k, groups: Vec::new(), remembered: 0 }
    }

    fn subjects(values: &[Option<u64>]) -> Vec<ArrayRef> {
        vec![Arc::new(UInt64Array::from(values.to_vec()))]
    }

    fn verdicts(many: &mut Many) -> Vec<bool> {
        many.evaluate(EmitTo::All).unwrap().as_boolean().iter().flatten().collect()
    }

    #[test]
    fn repeated_and_missing_subjects_do_not_count() {
        let mut it = many(2);
        let rows = subjects(&[Some(1), Some(1), Some(1), Some(1), Some(2), None]);
        it.update_batch(&rows, &[0, 0, 0, 1, 1, 0], None, 3).unwrap();
        assert_eq!(verdicts(&mut it), [false, true, false]);
        assert_eq!(it.remembered, 0);
    }

    #[test]
    fn partial_states_merge_like_one_pass() {
        let (mut a, mut b, mut whole) = (many(3), many(3), many(3));
        a.update_batch(&subjects(&[Some(1), Some(2), Some(9)]), &[0, 0, 1], None, 2).unwrap();
        b.update_batch(&subjects(&[Some(2), Some(3), Some(9)]), &[0, 0, 1], None, 2).unwrap();
        for part in [&mut a, &mut b] {
            let state = part.state(EmitTo::All).unwrap();
            whole.merge_batch(&state, &[0, 1], 2).unwrap();
        }
        assert_eq!(verdicts(&mut whole), [true, false]);
        let rows = subjects(&[Some(1), Some(2), Some(3)]);
        let state = whole.convert_to_state(&rows, None).unwrap();
        whole.merge_batch(&state, &[0, 0, 0], 1).unwrap();
        assert_eq!(verdicts(&mut whole), [true]);
    }

    #[test]
    fn the_single_group_form_agrees() {
        let mut one = One { k: 2, group: Group::default() };
        one.update_batch(&subjects(&[Some(5), Some(5)])).unwrap();
        assert_eq!(one.evaluate().unwrap(), ScalarValue::Boolean(Some(false)));
        let state: Vec<ArrayRef> = one.state().unwrap().iter().map(|value| value.to_array().unwrap()).collect();
        let mut other = One { k: 2, group: Group::default() };
        other.update_batch(&subjects(&[Some(6)])).unwrap();
        other.merge_batch(&state).unwrap();
        assert_eq!(other.evaluate().unwrap(), ScalarValue::Boolean(Some(true)));
    }
}
