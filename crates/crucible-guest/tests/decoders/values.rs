//! Generators of messages, as owned values.

use crucible_guest::protocol::{
    EntryKind, EntryRef, Exec, Exited, FrameKind, InitFlags, OnExit, Overflow, PlanFlags, Rlimit,
    SandboxPlan, Strings, WireWriter,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// Encodes a message into a buffer that is large enough for all messages of these tests.
pub(crate) fn encode(write: impl FnOnce(&mut WireWriter<'_>) -> Result<(), Overflow>) -> Vec<u8> {
    let mut buffer = vec![0; 64 * 1024];
    let mut writer = WireWriter::new(&mut buffer);
    write(&mut writer).unwrap();
    assert_eq!(writer.written().len(), writer.len());
    writer.written().to_vec()
}

/// Checks that every smaller buffer is too small, and that no byte is written past its end.
pub(crate) fn needs_its_whole_buffer(
    length: usize,
    write: impl Fn(&mut WireWriter<'_>) -> Result<(), Overflow>,
) -> Result<(), TestCaseError> {
    for size in [0, 1, length / 2, length.saturating_sub(1)] {
        if size < length {
            prop_assert_eq!(write(&mut WireWriter::new(&mut vec![0; size])), Err(Overflow));
        }
    }
    Ok(())
}

pub(crate) fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 0..=most)
}

/// Generates a byte string that ends with its only NUL and is not empty without it.
pub(crate) fn text() -> impl Strategy<Value = Vec<u8>> {
    vec(1..=255_u8, 1..40).prop_map(|mut bytes| {
        bytes.push(0);
        bytes
    })
}

pub(crate) fn frame_kind() -> impl Strategy<Value = FrameKind> {
    let kinds: Vec<_> = (0..=255).filter_map(FrameKind::from_number).collect();
    assert_eq!(kinds.len(), 27);
    select(kinds)
}

/// A request to run a command, owned.
#[derive(Debug, Clone)]
pub(crate) struct OwnedExec {
    numbers: (u8, OnExit, bool, u64),
    quiet: (u32, bool),
    pub(crate) limits: Vec<Rlimit>,
    rlimits: Vec<u8>,
    directory: Vec<u8>,
    argv: Vec<Vec<u8>>,
    env: Vec<Vec<u8>>,
    joined: [Vec<u8>; 2],
}

impl OwnedExec {
    pub(crate) fn borrow(&self) -> Exec<'_> {
        let (stdio, on_exit, status, deadline_us) = self.numbers;
        let (quiet_us, lend_mounts) = self.quiet;
        let [argv, env] = &self.joined;
        let count = |strings: &Vec<Vec<u8>>| u32::try_from(strings.len()).unwrap();
        Exec {
            stdio,
            on_exit,
            status,
            quiet_us,
            lend_mounts,
            deadline_us,
            rlimits: &self.rlimits,
            directory: &self.directory,
            argv: Strings { count: count(&self.argv), bytes: argv },
            env: Strings { count: count(&self.env), bytes: env },
        }
    }

    pub(crate) fn strings(&self) -> [&[Vec<u8>]; 2] {
        [&self.argv, &self.env]
    }
}

pub(crate) fn exec() -> impl Strategy<Value = OwnedExec> {
    let on_exit = select(vec![OnExit::KeepBackground, OnExit::KillBackground, OnExit::Seal]);
    let numbers = (0..=1_u8, on_exit, any::<bool>(), any::<u64>());
    let quiet = any::<(u32, bool)>();
    let rlimit =
        any::<(u32, u64, u64)>().prop_map(|(resource, soft, hard)| Rlimit { resource, soft, hard });
    // An argument may be empty, which is its NUL alone.
    let string = vec(1..=255_u8, 0..20).prop_map(|mut bytes| {
        bytes.push(0);
        bytes
    });
    let (argv, env) = (vec(string.clone(), 1..6), vec(string.clone(), 0..6));
    let all = ((numbers, quiet), vec(rlimit, 0..5), string, argv, env);
    all.prop_map(|((numbers, quiet), limits, directory, argv, env)| {
        let rlimits = encode(|writer| limits.iter().try_for_each(|limit| limit.encode(writer)));
        let joined = [argv.concat(), env.concat()];
        OwnedExec { numbers, quiet, limits, rlimits, directory, argv, env, joined }
    })
}

pub(crate) fn plan() -> impl Strategy<Value = SandboxPlan> {
    let networks = PlanFlags::NEW_NETWORK.with(PlanFlags::ENTER_NETWORK);
    let flags = (0..1024_u32).prop_map(PlanFlags).prop_filter("one network", move |flags| {
        !flags.has(networks) && (flags.has(PlanFlags::NEW_NETWORK) || !flags.has(PlanFlags::EGRESS))
    });
    let small = (flags, 0..=4_u8, any::<u8>());
    (small, any::<u32>(), any::<u32>(), 1..=u64::MAX, 1..=u64::MAX).prop_map(
        |(
            (flags, tasks_files, landlock_abi),
            outer_guest_id,
            outer_target_id,
            disk_bytes,
            inodes,
        )| SandboxPlan {
            flags,
            tasks_files,
            landlock_abi,
            outer_guest_id,
            outer_target_id,
            disk_bytes,
            inodes,
        },
    )
}

pub(crate) fn init_flags() -> impl Strategy<Value = InitFlags> {
    (0..=7_u32).prop_map(InitFlags)
}

pub(crate) fn exited() -> impl Strategy<Value = Exited> {
    any::<((i32, bool, bool, u32), [u64; 7])>().prop_map(
        |((wait_status, empty, deadline, survivors), n)| {
            let [wall_us, user_us, system_us, maxrss_kib, guest_us, free_bytes, free_inodes] = n;
            Exited {
                wait_status,
                empty,
                deadline,
                survivors,
                wall_us,
                user_us,
                system_us,
                maxrss_kib,
                guest_us,
                free_bytes,
                free_inodes,
            }
        },
    )
}

/// An entry of a directory, owned.
pub(crate) type OwnedEntry = (EntryKind, u32, u64, Vec<u8>);

pub(crate) fn entry() -> impl Strategy<Value = OwnedEntry> {
    let kind = select(vec![EntryKind::File, EntryKind::Directory, EntryKind::Other]);
    let letter = (1..=255_u8).prop_filter("no slash", |byte| *byte != b'/');
    let name =
        vec(letter, 1..=255).prop_filter("a name", |name| !matches!(name.as_slice(), b"." | b".."));
    (kind, any::<u32>(), any::<u64>(), name)
}

pub(crate) fn borrow_entry((kind, mode, size, name): &OwnedEntry) -> EntryRef<'_> {
    EntryRef { kind: *kind, mode: *mode, size: *size, name }
}
