//! Tells the program which commit it was built from, so that a bundle of another one is refused.
//!
//! Reads `.git` itself (plain repository or linked work tree) and runs no command: where there is none, as in a source
//! archive, the commit stays unknown and the variable unset.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=scenarios");
    println!("cargo::rerun-if-changed=alerts/rules");
    if let Some(commit) = git_dir(Path::new(".git")).and_then(|git| commit(&git)) {
        println!("cargo::rustc-env=FIREDRILL_COMMIT={commit}");
    }
}

/// The repository's directory; a linked work tree has a file that names it.
fn git_dir(dot_git: &Path) -> Option<PathBuf> {
    if dot_git.is_dir() {
        return Some(dot_git.to_path_buf());
    }
    let text = fs::read_to_string(dot_git).ok()?;
    Some(PathBuf::from(text.strip_prefix("gitdir:")?.trim()))
}

/// The commit that HEAD names, directly, through a loose ref, or through the packed ones.
fn commit(git: &Path) -> Option<String> {
    let head = read_watched(&git.join("HEAD"))?;
    let _ = read_watched(&git.join("logs/HEAD")); // grows with every commit, also when a packed ref becomes a loose one
    let Some(name) = head.trim().strip_prefix("ref: ") else {
        return Some(head.trim().to_owned());
    };
    let shared = match fs::read_to_string(git.join("commondir")) {
        Ok(path) => git.join(path.trim()),
        Err(_) => git.to_path_buf(),
    };
    let loose = [git.join(name), shared.join(name)];
    if let Some(commit) = loose.iter().find_map(|path| read_watched(path)) {
        return Some(commit.trim().to_owned());
    }
    let packed = read_watched(&shared.join("packed-refs"))?;
    packed.lines().find_map(|line| {
        line.strip_suffix(name)?
            .strip_suffix(' ')
            .map(str::to_owned)
    })
}

/// Reads a file and, if it exists, has the build repeated when it changes.
fn read_watched(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    println!("cargo::rerun-if-changed={}", path.display());
    Some(text)
}
