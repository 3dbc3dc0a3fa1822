//! Names for addresses, from the files that a process had mapped: debugging information where there is some, else the symbol table.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use addr2line::Loader;
use object::{Object, ObjectSegment};

use crate::names;
use crate::profile::{Frame, Location, Measure, Profile, Stack};
use crate::raw::{Mapping, Raw, Site};

/// Names for addresses. Files are read once, however many profiles are resolved.
#[derive(Default)]
pub struct Symbols {
    /// By path and build id.
    objects: HashMap<(String, Vec<u8>), Option<File>>,
    complaints: Vec<String>,
}

/// A file with symbols.
struct File {
    /// Places in the file, the bytes from there that are loaded, and the address that they are linked for.
    segments: Vec<(u64, u64, u64)>,
    /// The file itself, and one with debugging information apart from it.
    loaders: Vec<Loader>,
}

impl Symbols {
    /// Nothing read yet.
    pub fn new() -> Symbols {
        Symbols::default()
    }

    /// Files that could not be used, a sentence each.
    pub fn complaints(&self) -> &[String] {
        &self.complaints
    }

    /// Gives all addresses their names. The frames of the allocator itself are left out, by its library's mapping or, where it is a part of
    /// the program, by their names: a stack begins with who asked. Where a file is not
    /// there any more or has been replaced, the name of the file and the place in it stand for the function.
    pub fn resolve(&mut self, raw: &Raw) -> Profile {
        let mut profile = Profile {
            mean: raw.mean,
            began_ns: raw.began_ns,
            duration_ns: raw.duration_ns,
            reachability: raw.reachability,
            untouched_ns: raw.untouched_ns,
            ..Profile::default()
        };
        let mut places = Places::new(raw.mappings.clone());
        for site in &raw.sites {
            let locations = places.of_stack(self, &site.frames);
            profile.stacks.push(stack_of(site, locations));
        }
        (profile.mappings, profile.locations) = (places.mappings, places.locations);
        profile
    }

    /// The functions at an address that is `distance` bytes behind the first mapped byte of a file, the innermost first; none where the
    /// file tells nothing. The file is believed to be the one that was mapped.
    pub fn in_file(&mut self, path: &str, distance: u64) -> Vec<Frame> {
        let key = (path.to_owned(), Vec::new());
        let file = self.objects.entry(key).or_insert_with(|| File::read(path, None).ok());
        let Some(file) = file else { return Vec::new() };
        // Only a program that is linked for a fixed address begins elsewhere than at 0.
        let first = file.segments.iter().map(|&(offset, _, address)| address.saturating_sub(offset)).min();
        file.at(first.unwrap_or(0).saturating_add(distance))
    }

    fn locate(&mut self, mappings: &[Mapping], address: u64) -> Location {
        // What was called stands before the return address.
        let address = address.saturating_sub(1);
        let Some(number) =
            mappings.iter().position(|mapping| (mapping.start..mapping.end).contains(&address))
        else {
            let function = format!("[{address:#x}]");
            return Location { address, mapping: 0, frames: vec![Frame { function, ..Frame::default() }] };
        };
        let mapping = &mappings[number];
        let place = address - mapping.start + mapping.offset;
        let mut frames = self.file(mapping).map_or_else(Vec::new, |file| file.frames(place));
        if frames.is_empty() {
            let name = mapping.path.rsplit('/').next().unwrap_or("");
            frames.push(Frame { function: format!("{name}+{place:#x}"), ..Frame::default() });
        }
        // Of calls that were inlined into who asked, the allocator's own come first.
        let serving = frames.iter().take_while(|frame| names::is_request(&frame.function)).count();
        if serving < frames.len() {
            frames.drain(..serving);
        }
        Location { address, mapping: number + 1, frames }
    }

    fn file(&mut self, mapping: &Mapping) -> Option<&File> {
        let key = (mapping.path.clone(), mapping.build_id.clone());
        if !self.objects.contains_key(&key) {
            let file = match File::open(mapping) {
                Ok(file) => Some(file),
                Err(complaint) => {
                    self.complaints.extend(complaint);
                    None
                }
            };
            self.objects.insert(key.clone(), file);
        }
        self.objects.get(&key)?.as_ref()
    }
}

/// Places in a program that stacks lead through, each looked up once.
///
/// ```
/// use freestone_profile::{Mapping, Places, Symbols};
/// let mapping = Mapping::parse("1000-2000 0 - /nowhere/program").unwrap();
/// let (mut symbols, mut places) = (Symbols::new(), Places::new(vec![mapping]));
/// let stack = places.of_stack(&mut symbols, &[0x1011, 0x1021]);
/// assert_eq!(places.frames(&stack).next().unwrap().function, "program+0x10");
/// ```
#[derive(Debug, Default)]
pub struct Places {
    mappings: Vec<Mapping>,
    locations: Vec<Location>,
    known: HashMap<u64, usize>,
}

impl Places {
    /// Of a process with these executable mappings; where some overlap, the first holds.
    pub fn new(mappings: Vec<Mapping>) -> Places {
        Places { mappings, ..Places::default() }
    }

    /// The places of a stack of return addresses, both from the innermost on, without those of the allocator itself: it begins with who asked.
    pub fn of_stack(&mut self, symbols: &mut Symbols, addresses: &[u64]) -> Vec<usize> {
        let mut stack: Vec<usize> = addresses
            .iter()
            .map(|&address| {
                *self.known.entry(address).or_insert_with(|| {
                    self.locations.push(symbols.locate(&self.mappings, address));
                    self.locations.len() - 1
                })
            })
            .collect();
        let serving = stack.iter().take_while(|&&location| self.serves(location)).count();
        // Rather all than none.
        if serving < stack.len() {
            stack.drain(..serving);
        }
        stack
    }

    /// The functions at these places, the innermost first.
    pub fn frames<'a>(&'a self, stack: &'a [usize]) -> impl DoubleEndedIterator<Item = &'a Frame> {
        stack
            .iter()
            .filter_map(|&location| self.locations.get(location))
            .flat_map(|place| place.frames.iter())
    }

    /// Whether the place is on the way from a request to its stack.
    fn serves(&self, location: usize) -> bool {
        let place = &self.locations[location];
        let mapping = place.mapping.checked_sub(1).and_then(|number| self.mappings.get(number));
        mapping.is_some_and(|mapping| mapping.is_own)
            || place.frames.iter().all(|frame| names::is_request(&frame.function))
    }
}

fn stack_of(site: &Site, locations: Vec<usize>) -> Stack {
    let mut stack = Stack::new(site.thread.clone(), locations, site.samples, site.live_samples);
    for (measure, value) in [
        (Measure::AllocatedObjects, site.allocated.0),
        (Measure::AllocatedBytes, site.allocated.1),
        (Measure::LiveObjects, site.live.0),
        (Measure::LiveBytes, site.live.1),
        (Measure::PeakObjects, site.peak.0),
        (Measure::PeakBytes, site.peak.1),
        (Measure::StrandedBytes, site.stranded),
        (Measure::LostObjects, site.lost.0),
        (Measure::LostBytes, site.lost.1),
        (Measure::IdleObjects, site.idle.0),
        (Measure::IdleBytes, site.idle.1),
    ] {
        stack.set(measure, value);
    }
    stack
}

/// Debian and most others put debugging information that was taken out of a file here, under its build id.
const DEBUG: &str = "/usr/lib/debug/.build-id";

fn debug_file(build_id: &[u8]) -> Option<PathBuf> {
    let (first, rest) = build_id.split_first()?;
    let rest: String = rest.iter().map(|byte| format!("{byte:02x}")).collect();
    let path = Path::new(DEBUG).join(format!("{first:02x}")).join(format!("{rest}.debug"));
    path.exists().then_some(path)
}

impl File {
    /// The error is a sentence, or nothing where nothing was to be expected.
    fn open(mapping: &Mapping) -> Result<File, Option<String>> {
        let path = mapping.path.as_str();
        if !path.starts_with('/') {
            return Err(None);
        }
        // No names of the allocator's own are shown.
        File::read(path, Some(&mapping.build_id)).map_err(|complaint| (!mapping.is_own).then_some(complaint))
    }

    /// Reads the file if it has this build id, or whatever id it has.
    fn read(path: &str, wanted: Option<&[u8]>) -> Result<File, String> {
        let cannot = |why: &dyn std::fmt::Display| {
            format!("{path} cannot be read, its functions have no names: {why}")
        };
        let bytes = std::fs::read(path).map_err(|error| cannot(&error))?;
        let object = object::File::parse(&*bytes).map_err(|error| cannot(&error))?;
        let id = object.build_id().ok().flatten().unwrap_or_default();
        if wanted.is_some_and(|wanted| wanted != id) {
            return Err(format!(
                "{path} is not the file any more that the process had mapped: its functions have no names"
            ));
        }
        let segments = object
            .segments()
            .map(|segment| (segment.file_range().0, segment.file_range().1, segment.address()));
        let paths = [Some(PathBuf::from(path)), debug_file(id)];
        let loaders = paths.into_iter().flatten().filter_map(|path| Loader::new(path).ok()).collect();
        Ok(File { segments: segments.collect(), loaders })
    }

    /// The functions at a place in the file, the innermost first: several where calls were inlined.
    fn frames(&self, place: u64) -> Vec<Frame> {
        let inside =
            |&&(offset, len, _): &&(u64, u64, u64)| (offset..offset.saturating_add(len)).contains(&place);
        let Some(&(offset, _, address)) = self.segments.iter().find(inside) else { return Vec::new() };
        self.at(address.saturating_add(place - offset))
    }

    /// The functions at an address as the file is linked for.
    fn at(&self, address: u64) -> Vec<Frame> {
        let mut told = self.loaders.iter().rev().map(|loader| frames_by(loader, address));
        told.find(|frames| !frames.is_empty()).unwrap_or_default()
    }
}

fn frames_by(loader: &Loader, address: u64) -> Vec<Frame> {
    let mut found: Vec<Frame> = Vec::new();
    // Of the outermost function: whether its name stands there without the module or class that it belongs to.
    let mut is_short = false;
    if let Ok(mut frames) = loader.find_frames(address) {
        while let Ok(Some(frame)) = frames.next() {
            let Some(name) = frame.function.as_ref().and_then(|function| function.raw_name().ok()) else {
                continue;
            };
            let at = frame.location.as_ref();
            is_short = !names::is_mangled(&name);
            found.push(Frame {
                function: names::demangled(&name),
                file: at.and_then(|at| at.file).unwrap_or_default().into(),
                line: at.and_then(|at| at.line).unwrap_or(0),
            });
        }
    }
    // Tables of lines alone (`debug = "line-tables-only"`, `-g1`) have no longer names; the symbols have, but none of what was inlined.
    if (found.is_empty() || is_short)
        && let Some(symbol) = loader.find_symbol(address)
    {
        match found.last_mut() {
            None => found.push(Frame { function: names::demangled(symbol), ..Frame::default() }),
            Some(outermost) => {
                if let Some(name) = names::qualified(&outermost.function, symbol) {
                    outermost.function = name;
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn a_function_with_a_name() -> usize {
        std::hint::black_box(a_function_with_a_name as *const () as usize)
    }

    /// The mapping of this program that an address lies in.
    fn mapping_of(address: u64) -> Mapping {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let found = maps.lines().find_map(|line| {
            let words: Vec<&str> = line.split_ascii_whitespace().collect();
            let (start, end) = words[0].split_once('-')?;
            let (start, end) = (u64::from_str_radix(start, 16).ok()?, u64::from_str_radix(end, 16).ok()?);
            let offset = u64::from_str_radix(words[2], 16).ok()?;
            let path = words.get(5)?.to_string();
            (start..end).contains(&address).then_some(Mapping {
                start,
                end,
                offset,
                path,
                ..Mapping::default()
            })
        });
        let mut mapping = found.unwrap();
        let bytes = std::fs::read(&mapping.path).unwrap();
        let object = object::File::parse(&*bytes).unwrap();
        mapping.build_id = object.build_id().unwrap().unwrap_or_default().to_vec();
        mapping
    }

    #[test]
    fn a_function_of_this_program_is_found() {
        let address = a_function_with_a_name() as u64 + 2;
        let raw = Raw {
            mappings: vec![mapping_of(address)],
            sites: vec![Site { frames: vec![address, 16], ..Site::default() }],
            ..Raw::default()
        };
        let mut symbols = Symbols::new();
        let profile = symbols.resolve(&raw);
        let names: Vec<&str> =
            profile.frames(&profile.stacks[0]).map(|frame| frame.function.as_str()).collect();
        assert!(names[0].ends_with("a_function_with_a_name"), "{names:?}");
        assert_eq!(names[1], "[0xf]");
        assert!(symbols.complaints().is_empty());
    }

    #[test]
    fn a_file_that_was_replaced_is_not_believed() {
        let address = a_function_with_a_name() as u64 + 2;
        let mapping = Mapping { build_id: vec![1, 2, 3], ..mapping_of(address) };
        let gone = Mapping { start: 4096, end: 8192, path: "/no/such/file".into(), ..Mapping::default() };
        let raw = Raw {
            mappings: vec![mapping, gone],
            sites: vec![Site { frames: vec![address, 5000], ..Site::default() }],
            ..Raw::default()
        };
        let mut symbols = Symbols::new();
        let profile = symbols.resolve(&raw);
        let names: Vec<&str> =
            profile.frames(&profile.stacks[0]).map(|frame| frame.function.as_str()).collect();
        assert!(names[0].contains("+0x") && names[1] == "file+0x387", "{names:?}");
        assert!(symbols.complaints()[0].contains("not the file any more"));
        assert!(symbols.complaints()[1].contains("cannot be read"));
    }
}
