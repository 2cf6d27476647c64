//! Where the outside test data lies: `ODH_CONFORMANCE`, or `shared/conformance` beside the repository.

use std::{
    env,
    io::{self, Write as _},
    path::PathBuf,
};

/// The folder of one suite. If it is absent the test says so and stops, unless the variable names the place.
pub(crate) fn folder(suite: &str) -> Option<PathBuf> {
    let given = env::var_os("ODH_CONFORMANCE").map(PathBuf::from);
    let beside = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../../shared/conformance");
    let folder = given.clone().unwrap_or_else(beside).join(suite);
    if folder.is_dir() {
        return Some(folder);
    }
    assert!(given.is_none(), "ODH_CONFORMANCE is set, but `{}` is not there", folder.display());
    // Not by a macro of which `cargo test` shows nothing as long as the test passes: whoever runs it must see this.
    writeln!(
        io::stderr(),
        "SKIPPED: `{}` is not there; ODH_CONFORMANCE names the folder of the suites",
        folder.display()
    )
    .unwrap();
    None
}
