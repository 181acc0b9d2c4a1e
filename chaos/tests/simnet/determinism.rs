//! Same seed, same packets: in one thread after another, on other threads, and in another process.

use crate::arms::ms;
use bytes::Bytes;
use chaos::simnet::{
    HostConfig, HostCtx, LinkConfig, NetConfig, SimBuilder, TcpListener,
    http::{Client, ClientConfig, serve_fn},
    random::{below, stream},
};
use std::time::Duration;

const CHILD: &str = "SIMNET_DETERMINISM_SEED";

async fn server(ctx: HostCtx) {
    let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
    let inner = ctx.clone();
    serve_fn(&ctx, listener, move |request| {
        let ctx = inner.clone();
        async move {
            ctx.cpu.work(ms(3)).await;
            let size = request.uri().path().len() * 997;
            http::Response::new(Bytes::from(vec![b'x'; size]))
        }
    })
    .await;
}

async fn client(ctx: HostCtx) {
    let http = Client::new(
        &ctx,
        ClientConfig {
            timeout: ms(2500),
            ..ClientConfig::default()
        },
    );
    for k in 0u64.. {
        let path = format!("/{}", "p".repeat((k % 40) as usize));
        let _ = http.get(&format!("s{}", k % 3), 80, &path).await;
        ctx.clock.sleep(ms(37)).await;
    }
}

/// A minute of random faults among three servers and three clients: packets delivered and their SHA-256.
fn storm(seed: u64) -> String {
    let config = NetConfig {
        mtu: 1500,
        hash_packets: true,
        link: LinkConfig::default().with_loss_ppm(2000),
        ..NetConfig::new(seed)
    };
    let mut builder = SimBuilder::new(config);
    for i in 0..3 {
        builder = builder
            .host(&format!("s{i}"), HostConfig { cores: 2 }, server)
            .host(&format!("c{i}"), HostConfig::default(), client);
    }
    let run = builder.run(move |sim| async move {
        let mut rng = stream(seed, "storm");
        for _ in 0..60 {
            tokio::time::sleep(ms(200 + below(&mut rng, 1600))).await;
            let (s, c) = (
                format!("s{}", below(&mut rng, 3)),
                format!("c{}", below(&mut rng, 3)),
            );
            let pause = ms(100 + below(&mut rng, 1000));
            match below(&mut rng, 8) {
                0 => sim.crash(&s),
                1 => sim.kill(&s),
                2 => sim.partition(&s, &c),
                3 => sim.partition_one_way(&s, &c),
                4 => sim.hold(&s, &c),
                5 => sim.set_loss(&s, &c, 100_000),
                6 => sim.stall(&c, pause),
                _ => sim.stop(&s),
            }
            tokio::time::sleep(pause).await;
            sim.repair(&s, &c);
            sim.release(&s, &c);
            sim.reset_link(&s, &c);
            if !sim.is_up(&s) {
                sim.boot(&s);
            }
        }
        let stats = sim.stats();
        assert!(
            stats.retransmissions > 50 && stats.delivered > 5_000,
            "{stats:?}"
        );
        format!(
            "{} {:016x} {}",
            stats.delivered,
            stats.digest,
            sim.packet_sha256().unwrap()
        )
    });
    run.unwrap()
}

#[test]
fn two_runs_agree_and_another_seed_differs() {
    let first = storm(1);
    assert_eq!(storm(1), first);
    assert_ne!(storm(2), first);
}

#[test]
#[expect(
    clippy::disallowed_methods,
    reason = "each simulation has a thread of its own; nothing is shared"
)]
fn other_threads_agree() {
    let here = storm(3);
    let threads: Vec<_> = (0..2).map(|_| std::thread::spawn(|| storm(3))).collect();
    for thread in threads {
        assert_eq!(thread.join().unwrap(), here);
    }
}

/// Run by `another_process_agrees` in a child; passes idly otherwise.
#[test]
fn storm_of_the_child() {
    if let Ok(seed) = std::env::var(CHILD) {
        println!("\nstorm: {}", storm(seed.parse().unwrap()));
    }
}

#[test]
fn another_process_agrees() {
    let child = || {
        let mut command = std::process::Command::new(std::env::current_exe().unwrap());
        command
            .args(["determinism::storm_of_the_child", "--exact", "--nocapture"])
            .env(CHILD, "4");
        let output = String::from_utf8(command.output().unwrap().stdout).unwrap();
        output
            .lines()
            .find_map(|line| line.strip_prefix("storm: ").map(str::to_owned))
            .unwrap_or_else(|| panic!("{output}"))
    };
    let first = child();
    assert_eq!(child(), first);
    assert_eq!(storm(4), first);
}

#[test]
fn a_pause_between_runs_changes_nothing() {
    // Virtual time must not leak the real clock: the time limit is the only thing that could see it.
    let run = || {
        SimBuilder::new(NetConfig::new(9))
            .host("s0", HostConfig::default(), server)
            .host("c", HostConfig::default(), client)
            .run(|sim| async move {
                sim.sleep_until(Duration::from_secs(5)).await;
                (sim.now(), sim.stats())
            })
    };
    assert_eq!(run().unwrap(), run().unwrap());
}
