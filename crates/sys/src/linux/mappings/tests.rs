use super::*;

const PAGE: usize = 4096;

#[test]
fn mappings_add_up_to_the_kernels_sum() {
    let memory = vec![1u8; 5000 * PAGE];
    let mut buffer = [0; 4096];
    let (mut sum, mut own) = (0, None);
    assert!(mappings(&mut buffer, Detail::Sizes, |mapping| {
        sum += mapping.resident;
        if (mapping.start..mapping.end).contains(&memory.as_ptr().addr()) {
            own = Some(*mapping);
        }
    }));
    let exactly = sums(&mut buffer).unwrap().resident;
    assert!(sum.abs_diff(exactly) < 4 << 20, "{sum} {exactly}");
    assert!(resident_roughly().unwrap().abs_diff(exactly) < 4 << 20);
    assert!(resident_at_most().unwrap() + (4 << 20) > exactly);
    let own = own.unwrap();
    assert!(own.resident >= 4000 * PAGE && own.kind == MappingKind::Anonymous);
    assert_eq!(own.permissions, [true, true, false, false]);
    assert!(threads().unwrap() >= 1);
}

#[test]
fn names_tell_the_kind() {
    for (name, kind) in [
        ("", MappingKind::Anonymous),
        ("[heap]", MappingKind::Anonymous),
        ("[anon:name]", MappingKind::Anonymous),
        ("[stack]", MappingKind::Stack),
        ("[vdso]", MappingKind::Kernel),
        ("[vvar_vclock]", MappingKind::Kernel),
        ("/usr/lib/libc.so.6", MappingKind::File),
        ("/anon_hugepage (deleted)", MappingKind::HugeFile),
        ("/dev/shm/x", MappingKind::SharedMemory),
        ("/memfd:x (deleted)", MappingKind::SharedMemory),
    ] {
        let line = format!("7f00-7f01000 r-xp 00001000 fd:01 123                  {name}");
        let found = header(line.as_bytes()).unwrap();
        assert_eq!((found.kind, found.start, found.end), (kind, 0x7f00, 0x7f01000), "{name}");
        assert_eq!(found.permissions, [true, false, true, false]);
    }
    assert!(header(b"Rss:  4 kB").is_none());
}

#[test]
fn the_end_of_a_library_is_that_of_its_variables() {
    static VARIABLES: [std::sync::atomic::AtomicU8; 100_000] =
        [const { std::sync::atomic::AtomicU8::new(0) }; 100_000];
    let memory = ReadFile::open(c"/proc/self/mem").unwrap();
    let (mut buffer, mut starts) = ([0; 4096], Vec::new());
    assert!(mappings(&mut buffer, Detail::Ranges, |mapping| {
        if mapping.kind == MappingKind::File && mapping.offset == 0 {
            starts.push(mapping.start);
        }
    }));
    let own = VARIABLES.as_ptr().addr();
    let images: Vec<_> =
        starts.iter().filter_map(|&start| Some((start, image_end(&memory, start)?))).collect();
    assert!(images.iter().any(|&(start, end)| start < own && own + VARIABLES.len() <= end), "{images:x?}");
    assert!(images.windows(2).all(|pair| pair[0].1 <= pair[1].0), "{images:x?}");
    let text = b"no program".as_ptr().addr();
    assert_eq!(image_end(&memory, text), None);
    assert_eq!(image_end(&memory, 4096), None);
}
