//! The names of the steps of guest and spawner.

/// A step of the guest or the spawner that failed. The host describes it in its error message.
///
/// The number is the wire format: a new step gets a new number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub struct Step(pub u16);

macro_rules! steps {
    ($($(#[$doc:meta])* $name:ident = $number:literal, $text:literal;)*) => {
        impl Step {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// Returns a description in the infinitive; `None` for a number that this build does
            /// not know.
            #[must_use]
            pub const fn describe(self) -> Option<&'static str> {
                match self.0 { $($number => Some($text),)* _ => None }
            }
        }
    };
}

steps! {
    /// `unshare` for the spawner's own namespaces.
    SPAWNER_NAMESPACES = 1, "create the spawner's namespaces";
    /// Writing the spawner's own id maps.
    SPAWNER_MAPS = 2, "write the spawner's user id map";
    /// Making mounts private.
    SPAWNER_PRIVATE = 3, "make the spawner's mounts private";
    /// An operation of the root template.
    TEMPLATE = 4, "build the sandbox's root file system";
    /// `pivot_root` into the template.
    PIVOT = 5, "enter the sandbox's root file system";
    /// The seccomp filter, which all sandboxes inherit.
    SPAWNER_SECCOMP = 6, "load the seccomp filter";
    /// `unshare(CLONE_NEWNET)` for the pool.
    NETNS = 7, "create a network namespace";
    /// `setns` into a pooled network namespace.
    ENTER_NETNS = 8, "enter a network namespace";
    /// `clone3`.
    CLONE = 9, "clone the guest into its namespaces";
    /// Writing the guest's id maps.
    MAPS = 10, "write the sandbox's user id map";
    /// Joining a version 1 cgroup.
    CGROUP = 11, "join the sandbox's cgroup";
    /// `unshare(CLONE_NEWCGROUP)`.
    CGROUP_NAMESPACE = 12, "create a cgroup namespace";
    /// Becoming root in the sandbox's user namespace.
    CREDENTIALS = 13, "change to the guest's user id";
    /// `PR_SET_PDEATHSIG`.
    DEATH_SIGNAL = 14, "set the guest's parent-death signal";
    /// Mounting the bounded file system.
    MOUNT_DISK = 15, "mount the sandbox's bounded file system";
    /// Mounting `/proc`.
    MOUNT_PROC = 16, "mount `/proc`";
    /// `sethostname`.
    HOSTNAME = 17, "set the host name";
    /// Dropping capabilities.
    CAPABILITIES = 18, "drop capabilities";
    /// `PR_SET_NO_NEW_PRIVS`.
    NO_NEW_PRIVS = 19, "set `no_new_privs`";
    /// The Landlock ruleset.
    LANDLOCK = 20, "enforce the Landlock ruleset";
    /// File descriptors of the guest.
    DESCRIPTORS = 21, "arrange the guest's file descriptors";
    /// `signalfd`, signal mask.
    SIGNALS = 22, "set up signals";
    /// Opening `/box`.
    OPEN_BOX = 23, "open `/box`";
    /// The loopback, and a socket that listens on it.
    EGRESS_LISTENER = 24, "open the sandbox's egress listener";
    /// The pipes and the stack of a slot.
    SLOT = 25, "set up a slot";
    /// `clone3` of the target.
    TARGET_CLONE = 30, "start the target process";
    /// `setsid` of the target.
    TARGET_SESSION = 31, "create the target's session";
    /// The target's standard streams.
    TARGET_STDIO = 32, "arrange the target's standard streams";
    /// The target's working directory.
    TARGET_DIRECTORY = 33, "enter the target's directory";
    /// The target's resource limits.
    TARGET_RLIMITS = 34, "set the target's resource limits";
    /// The target's user.
    TARGET_CREDENTIALS = 35, "change to the target's user id";
    /// The target's capabilities.
    TARGET_CAPABILITIES = 36, "drop the target's capabilities";
    /// `execve` of the target.
    TARGET_EXEC = 38, "execute the program";
    /// A malformed or unexpected request.
    REQUEST = 50, "understand a request";
    /// A second command while one runs.
    BUSY = 51, "run two commands at once";
    /// Writing a file.
    WRITE = 52, "write a file";
    /// Reading a file.
    READ = 53, "read a file";
    /// Listing a directory.
    LIST = 54, "list a directory";
    /// Writing an input file of the command.
    INPUT = 55, "write the input files";
    /// Sending a signal.
    SIGNAL = 56, "send a signal";
    /// Measuring usage.
    USAGE = 57, "measure usage";
    /// Framed standard streams.
    STREAMS = 58, "create the command's pipes";
}
