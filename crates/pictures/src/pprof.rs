//! Reads profiles in pprof's format, `profile.proto`, decompressed.
//!
//! Of the format (<https://github.com/google/pprof/blob/main/proto/profile.proto>) only what a flame graph needs is taken in: samples with
//! their values, the functions of their locations with inlined ones, and the names. Whatever the bytes are, reading them
//! does not panic, and takes memory in proportion to them.

use hashbrown::HashMap;

use crate::charts::axis::Unit;
use crate::charts::flame::Measure;
use crate::stacks::Stacks;

/// A field of a message.
enum Value<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// The fields of a message, one after the other.
struct Fields<'a>(&'a [u8]);

const CUT: &str = "the profile is cut or damaged";

fn number(bytes: &mut &[u8]) -> Result<u64, String> {
    let mut number = 0_u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or(CUT)?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Ok(number);
        }
    }
    Err(CUT.into())
}

impl<'a> Fields<'a> {
    fn take(&mut self, length: u64) -> Result<&'a [u8], String> {
        let length = usize::try_from(length).map_err(|_| CUT)?;
        let (taken, rest) = self.0.split_at_checked(length).ok_or(CUT)?;
        self.0 = rest;
        Ok(taken)
    }

    /// The next field with its number.
    fn next(&mut self) -> Result<Option<(u64, Value<'a>)>, String> {
        if self.0.is_empty() {
            return Ok(None);
        }
        let key = number(&mut self.0)?;
        let value = match key & 7 {
            0 => Value::Number(number(&mut self.0)?),
            1 => Value::Bytes(self.take(8)?),
            2 => {
                let length = number(&mut self.0)?;
                Value::Bytes(self.take(length)?)
            }
            5 => Value::Bytes(self.take(4)?),
            _ => return Err(CUT.into()),
        };
        Ok(Some((key >> 3, value)))
    }
}

/// Calls `f` with each field of a message.
fn each<'a>(
    message: &'a [u8],
    mut f: impl FnMut(u64, Value<'a>) -> Result<(), String>,
) -> Result<(), String> {
    let mut fields = Fields(message);
    while let Some((field, value)) = fields.next()? {
        f(field, value)?;
    }
    Ok(())
}

/// Repeated numbers, packed or one by one.
fn numbers(value: Value, into: &mut Vec<u64>) -> Result<(), String> {
    match value {
        Value::Number(number) => into.push(number),
        Value::Bytes(mut bytes) => {
            while !bytes.is_empty() {
                into.push(number(&mut bytes)?);
            }
        }
    }
    Ok(())
}

/// The numbers of some fields of a message, by field.
fn record<const N: usize>(message: &[u8]) -> Result<[u64; N], String> {
    let mut record = [0; N];
    each(message, |field, value| {
        if let (Some(place), Value::Number(number)) = (record.get_mut(field as usize), value) {
            *place = number;
        }
        Ok(())
    })?;
    Ok(record)
}

#[derive(Default)]
struct Parts<'a> {
    texts: Vec<&'a [u8]>,
    /// Type and unit of each value of a sample, as texts.
    types: Vec<(u64, u64)>,
    samples: Vec<(Vec<u64>, Vec<u64>)>,
    /// Functions of a location by its number, the innermost first.
    locations: HashMap<u64, (u64, Vec<u64>)>,
    /// Names of functions.
    functions: HashMap<u64, u64>,
}

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Result<Parts<'a>, String> {
        let mut parts = Parts::default();
        each(message, |field, value| {
            let Value::Bytes(bytes) = value else { return Ok(()) };
            match field {
                1 => {
                    let [_, kind, unit] = record(bytes)?;
                    parts.types.push((kind, unit));
                }
                2 => {
                    let (mut locations, mut values) = (Vec::new(), Vec::new());
                    each(bytes, |field, value| match field {
                        1 => numbers(value, &mut locations),
                        2 => numbers(value, &mut values),
                        _ => Ok(()),
                    })?;
                    parts.samples.push((locations, values));
                }
                4 => {
                    let [_, id, _, address] = record(bytes)?;
                    let mut functions = Vec::new();
                    each(bytes, |field, value| {
                        if let (4, Value::Bytes(line)) = (field, value) {
                            let [_, function] = record(line)?;
                            functions.push(function);
                        }
                        Ok(())
                    })?;
                    parts.locations.insert(id, (address, functions));
                }
                5 => {
                    let [_, id, name] = record(bytes)?;
                    parts.functions.insert(id, name);
                }
                6 => parts.texts.push(bytes),
                _ => {}
            }
            Ok(())
        })?;
        Ok(parts)
    }

    fn text(&self, number: u64) -> String {
        let text = self.texts.get(number as usize).copied().unwrap_or_default();
        String::from_utf8_lossy(text).into_owned()
    }

    /// The functions of a sample from the outermost to the innermost.
    fn frames(&self, locations: &[u64]) -> Vec<String> {
        let mut frames = Vec::new();
        for location in locations.iter().rev() {
            let Some((address, functions)) = self.locations.get(location) else { continue };
            if functions.is_empty() {
                frames.push(format!("{address:#x}"));
            }
            let names = functions
                .iter()
                .rev()
                .map(|function| self.functions.get(function).map(|&name| self.text(name)));
            frames.extend(names.map(|name| name.unwrap_or_else(|| "[unknown]".into())));
        }
        frames
    }
}

/// What a profile measures, each kind of value by itself. What is measured in bytes comes first.
///
/// # Errors
///
/// When the bytes are no such profile, or are cut.
///
/// ```
/// use freestone_pictures::pprof;
/// use freestone_pictures::stacks::Stacks;
///
/// let mut stacks = Stacks::default();
/// // The text 1 is "space"; a sample of 7 at location 1, whose function 1 is called "space", too.
/// let profile = b"\x32\x00\x32\x05space\x0a\x02\x08\x01\x12\x06\x0a\x01\x01\x12\x01\x07\x22\x06\x08\x01\x22\x02\x08\x01\x2a\x04\x08\x01\x10\x01";
/// let measures = pprof::read(profile, &mut stacks)?;
/// assert_eq!((measures[0].name.as_str(), measures[0].values[0].1), ("space", 7.0));
/// assert_eq!(stacks.site(measures[0].values[0].0), "space");
/// assert!(pprof::read(&profile[..20], &mut stacks).is_err());
/// # Ok::<(), String>(())
/// ```
pub fn read(profile: &[u8], stacks: &mut Stacks) -> Result<Vec<Measure>, String> {
    let parts = Parts::read(profile)?;
    if parts.types.is_empty() {
        return Err("it is no profile of pprof: it does not say what it measures".into());
    }
    let mut measures: Vec<Measure> = parts
        .types
        .iter()
        .map(|&(kind, unit)| {
            let unit = if parts.text(unit) == "bytes" { Unit::Bytes } else { Unit::Count };
            Measure { name: parts.text(kind).to_owned(), unit, values: Vec::new() }
        })
        .collect();
    for (locations, values) in &parts.samples {
        let stack = stacks.enter(parts.frames(locations));
        for (measure, &value) in measures.iter_mut().zip(values) {
            // Differences have samples below zero, which have no width.
            let value = (value as i64).max(0) as f64;
            measure.values.push((stack, value));
        }
    }
    measures.sort_by_key(|measure| measure.unit != Unit::Bytes);
    Ok(measures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_do_more_than_fail() {
        let mut seed = 9_u64;
        for length in 0..2000_usize {
            let bytes: Vec<u8> = (0..length % 97)
                .map(|_| {
                    seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    (seed >> 58) as u8
                })
                .collect();
            let _ = read(&bytes, &mut Stacks::default());
        }
    }
}
