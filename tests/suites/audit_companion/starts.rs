//! With which settings it starts, and what it says then.

use super::*;

fn refused(companion: Companion) -> String {
    let (status, log) = companion.fails();
    assert_ne!(status, Some(0), "{log}");
    log
}

#[test]
fn two_companions_do_not_use_one_folder() {
    let redis = Redis::default();
    let folder = folder("audit");
    let mut first = audited(&redis.url(), &folder).started();
    let log = refused(audited(&redis.url(), &folder));
    assert!(log.contains("another companion's"), "{log}");
    assert_eq!(first.stop(), Some(0));
    audited(&redis.url(), &folder).started();
}

#[test]
fn settings_that_cannot_work_are_refused() {
    let redis = Redis::default();
    let folder = folder("audit");
    let file = folder.join("file");
    std::fs::write(&file, "x").unwrap();
    let with = |words: &[&str]| refused(Companion::of(&redis.url()).with(words));
    let log = with(&["--audit-max-bytes", "1073741824"]);
    assert!(log.contains("--audit-dir"), "{log}");
    let log = with(&[
        "--audit-dir",
        folder.to_str().unwrap(),
        "--audit-max-bytes",
        "4096",
    ]);
    assert!(log.contains("4194304"), "{log}");
    let log = with(&["--audit-dir", file.to_str().unwrap()]);
    assert!(log.contains("--audit-dir"), "{log}");
    let log = refused(audited(&redis.url(), &folder).environment("AUDIT_HMAC_KEY", "abcd"));
    assert!(
        log.contains("AUDIT_HMAC_KEY: expected at least 32 bytes"),
        "{log}"
    );
}

/// Whoever reaches the address could have events signed, on loopback too.
#[test]
fn a_key_needs_a_token() {
    let redis = Redis::default();
    let queue = folder("audit");
    let options = ["--audit-dir", queue.to_str().unwrap()];
    for companion in [
        Companion::of(&redis.url()).with(&options),
        Companion::new(&["--in-memory"]),
    ] {
        let log = refused(companion.environment("AUDIT_HMAC_KEY", KEY));
        assert!(log.contains("set CARACAL_FEED_TOKEN"), "{log}");
        assert!(log.contains("audit.token") && !log.contains(KEY), "{log}");
    }
}

#[test]
fn the_key_may_be_in_a_file_and_its_absence_is_told() {
    let redis = Redis::default();
    let folder = folder("audit");
    let file = folder.join("key");
    std::fs::write(&file, format!("{KEY}\n")).unwrap();
    let queue = folder.join("queue");
    let options = ["--audit-dir", queue.to_str().unwrap()];
    let mut companion = Companion::of(&redis.url())
        .with(&options)
        .environment("AUDIT_HMAC_KEY_FILE", file.to_str().unwrap())
        .token(TOKEN)
        .started();
    accepted(&companion, &events(0..1));
    until_arrived(&redis, 1);
    assert_eq!(companion.stop(), Some(0));
    let companion = Companion::of(&redis.url()).with(&options).started();
    assert!(
        companion.log().contains("dead letters"),
        "{}",
        companion.log()
    );
    accepted(&companion, &events(1..2));
    until("it arrives", SOON, || {
        redis.ask::<usize>(&["XLEN", STREAM]) == 2
    });
    assert!(!consumer::raw(&redis)[1].contains_key("sig"));
}

#[test]
fn a_folder_that_fills_up_or_that_others_can_write_is_told() {
    use std::os::unix::fs::PermissionsExt as _;
    let queue = folder("audit");
    let options = ["--in-memory", "--audit-dir", queue.to_str().unwrap()];
    let mut companion = Companion::new(&options).started();
    accepted(&companion, &events(0..1));
    let log = companion.log();
    assert!(log.contains("no audit event leaves --audit-dir"), "{log}");
    assert_eq!(companion.stop(), Some(0));
    let writable = std::fs::Permissions::from_mode(0o770);
    std::fs::set_permissions(&queue, writable).unwrap();
    let log = refused(Companion::new(&options));
    assert!(log.contains("chmod 700"), "{log}");
}

#[test]
fn its_files_are_for_nobody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let redis = Redis::default();
    let queue = folder("audit").join("queue");
    let companion = audited(&redis.url(), &queue).started();
    accepted(&companion, &events(0..1));
    until_arrived(&redis, 1);
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&queue), 0o700);
    for entry in std::fs::read_dir(&queue).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}
