//! What stands in for operators of CEL, so that what they cost is counted before it is done: functions whose names (`@…`) no rule
//! can spell.
//!
//! CEL's library copies a value where it puts it into a list, a map or an optional, and where its error names the operands; it
//! compares all of two values. Each is a loop over claims that come from outside.

use cel::common::functions::Function;
use cel::common::types::{
    CelBool, CelDouble, CelInt, CelList, CelMap, CelMapKey, CelOptional, CelString, DYN_TYPE, Type,
};
use cel::common::value::{CowVal, Val};
use cel::{DeclarationError, Env, ExecutionError};

use super::functions::{Answer, Args};
use super::steps;

/// `a + b`.
pub(super) const ADD: &str = "@add";
/// `a in b`.
pub(super) const WITHIN: &str = "@within";
/// `a == b`.
pub(super) const EQUALS: &str = "@equals";
/// `a[b]`.
pub(super) const INDEX: &str = "@index";
/// `a.?b` and `a[?b]`.
pub(super) const PART: &str = "@part";
/// Something of which a part is taken: CEL copies the part when it is taken out of an optional that is kept.
pub(super) const OPEN: &str = "@open";
/// What a macro goes over, and the steps that each element takes: a list as it is; of a map its keys, sorted, for CEL leaves their
/// order open and a decision may not.
pub(super) const ITEMS: &str = "@items";
/// Whether `exists` and `all` go on: what they know so far, or the error that ends them when there are no steps left. They pass
/// over any other.
pub(super) const GO_ON: &str = "@go_on";
/// A value that is copied, counted with all that is in it.
pub(super) const KEEP: &str = "@keep";
/// A value that a function of CEL's reads inside a macro, counted if it is text.
pub(super) const READ: &str = "@read";

pub(super) fn register(env: &mut Env) -> Result<(), DeclarationError> {
    let one: [(&str, Function); 4] = [(OPEN, open), (GO_ON, go_on), (KEEP, keep), (READ, read)];
    let two: [(&str, Function); 6] = [
        (ADD, add),
        (WITHIN, within),
        (EQUALS, equals),
        (INDEX, index),
        (PART, part),
        (ITEMS, items),
    ];
    let one = one.into_iter().map(|(name, function)| (name, vec![DYN_TYPE], function));
    let two = two.into_iter().map(|(name, function)| (name, vec![DYN_TYPE, DYN_TYPE], function));
    one.chain(two).try_for_each(|(name, types, function): (_, Vec<Type>, _)| {
        env.add_overload(name, name, types, function)
    })
}

fn pair<'x, 'b, 'v>(
    args: &'x Args<'b, 'v>,
) -> Result<(&'x (dyn Val + 'v), &'x (dyn Val + 'v)), ExecutionError> {
    match args.as_slice() {
        [left, right] => Ok((left.as_ref(), right.as_ref())),
        _ => Err(ExecutionError::invalid_argument_count(2, args.len())),
    }
}

fn no_such(operator: &str, left: &dyn Val, right: &dyn Val) -> ExecutionError {
    let types = [left, right].map(|side| side.get_type().name().to_owned());
    ExecutionError::no_such_overload(operator, types.to_vec())
}

fn add<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (left, right) = pair(&args)?;
    steps::spend(1)?;
    // The library adds the keys of a map to a list as well, in whatever order they come.
    if left.downcast_ref::<CelList>().is_some() && right.downcast_ref::<CelList>().is_none() {
        return Err(no_such("_+_", left, right));
    }
    steps::spend_weight(left)?;
    steps::spend_weight(right)?;
    let adder = left.as_adder().ok_or_else(|| no_such("_+_", left, right))?;
    let sum = adder.add(right).map_err(|error| match error {
        ExecutionError::UnsupportedBinaryOperator(..) => no_such("_+_", left, right),
        error => error,
    })?;
    Ok(CowVal::Owned(sum.into_owned()))
}

/// Each element of a list may be compared with all of `item`.
fn within<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (item, container) = pair(&args)?;
    let weight = steps::spend_weight(item)?;
    if let Some(list) = container.downcast_ref::<CelList>() {
        steps::spend(list.inner().len().saturating_mul(weight))?;
    }
    let within = container.as_container().ok_or_else(|| no_such("@in", item, container))?;
    let found = within.contains(item).map_err(|_| no_such("@in", item, container))?;
    Ok(CowVal::owned(CelBool::from(found)))
}

fn equals<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (left, right) = pair(&args)?;
    let bytes = |value: &dyn Val| value.downcast_ref::<CelString>().map(|text| text.inner().len());
    let size = |value: &dyn Val| value.as_sizer().map(|sizer| *sizer.size().inner());
    // What differs in size is not compared any further.
    match (bytes(left), bytes(right)) {
        (Some(bytes), Some(other)) if bytes == other => steps::spend_bytes(bytes)?,
        (None, None) if left.as_container().is_none() || size(left) == size(right) => {
            steps::spend_weight(left)?;
        }
        _ => {}
    }
    Ok(CowVal::owned(CelBool::from(left.equals(right))))
}

/// Counts `key`, which an error copies; an error when it is none that anything has.
fn spend_key(operator: &str, container: &dyn Val, key: &dyn Val) -> Result<(), ExecutionError> {
    let fraction = key.downcast_ref::<CelDouble>().is_some_and(|key| key.inner().fract() != 0.0);
    if fraction || key.as_container().is_some() {
        return Err(no_such(operator, container, key));
    }
    steps::spend_weight(key).map(|_| ())
}

fn index<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    const OPERATOR: &str = "_[_]";
    let (container, key) = pair(&args)?;
    if container.downcast_ref::<CelOptional>().is_some() {
        return part(args);
    }
    spend_key(OPERATOR, container, key)?;
    let wrong = no_such(OPERATOR, container, key);
    let told = |error| match error {
        ExecutionError::NoSuchKey(_) | ExecutionError::IndexOutOfBounds(_) => error,
        _ => wrong.clone(),
    };
    let key = args.pop().ok_or_else(|| wrong.clone())?;
    match args.pop().ok_or_else(|| wrong.clone())? {
        CowVal::Borrowed(container) => {
            let indexer = container.as_indexer().ok_or_else(|| wrong.clone())?;
            indexer.get(key.as_ref()).map_err(told)
        }
        CowVal::Owned(container) => {
            let indexer = container.into_indexer().ok_or_else(|| wrong.clone())?;
            indexer.steal(key.as_ref()).map(CowVal::Owned).map_err(told)
        }
    }
}

/// Whatever is not there, and whatever has no parts, is none.
fn part<'b, 'v>(args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (container, key) = pair(&args)?;
    let container = match container.downcast_ref::<CelOptional>() {
        Some(optional) => optional.option(),
        None => Some(container),
    };
    let found = container.filter(|container| spend_key("_[?_]", *container, key).is_ok());
    let found = found.and_then(Val::as_indexer).and_then(|indexer| indexer.get(key).ok());
    let Some(found) = found else { return Ok(CowVal::owned(CelOptional::none())) };
    steps::spend_weight(found.as_ref())?;
    Ok(CowVal::owned(CelOptional::of(found.into_owned())))
}

fn open<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    if value.is_borrowed() && value.downcast_ref::<CelOptional>().is_some() {
        steps::spend_weight(value.as_ref())?;
    }
    Ok(value)
}

fn items<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let (range, each) = pair(&args)?;
    let each = each.downcast_ref::<CelInt>().and_then(|each| usize::try_from(*each.inner()).ok());
    let each = each.unwrap_or(usize::MAX);
    if let Some(list) = range.downcast_ref::<CelList>() {
        steps::spend(list.inner().len().saturating_mul(each))?;
        // Each element is copied.
        steps::spend_weight(range)?;
        return Ok(args.swap_remove(0));
    }
    let Some(map) = range.downcast_ref::<CelMap<'v>>() else {
        let types = vec![range.get_type().name().to_owned()];
        return Err(ExecutionError::no_such_overload("macro", types));
    };
    steps::spend(map.inner().len().saturating_mul(each))?;
    let mut keys = map.inner().keys().collect::<Vec<&CelMapKey<'v>>>();
    keys.iter().try_for_each(|key| steps::spend_weight(key.inner()).map(|_| ()))?;
    keys.sort();
    let keys = keys.into_iter().map(|key| key.inner().clone_as_boxed());
    Ok(CowVal::owned(CelList::from(keys.collect::<Vec<_>>())))
}

fn go_on<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    steps::spend(0)?;
    args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))
}

fn keep<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    steps::spend_weight(value.as_ref())?;
    Ok(value)
}

fn read<'b, 'v>(mut args: Args<'b, 'v>) -> Answer<'b, 'v> {
    let value = args.pop().ok_or_else(|| ExecutionError::invalid_argument_count(1, 0))?;
    if let Some(text) = value.downcast_ref::<CelString>() {
        steps::spend_bytes(text.inner().len())?;
    }
    Ok(value)
}
