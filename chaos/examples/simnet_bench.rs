//! CPU cost of the simulated network: an idle day of ten hosts, 10 000 HTTP pairs, a day of scrapes, open and new connections.
//!
//! `cargo run --release -p chaos --example simnet_bench`. Prints one line per load; asserts nothing.

use bytes::Bytes;
use chaos::simnet::{
    HostConfig, HostCtx, NetConfig, NetStats, SimBuilder, TcpListener, TcpStream,
    http::{Client, ClientConfig, serve_fn},
};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

/// CPU seconds of this process (user and system), from the kernel's own books.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let nanos: f64 = stat
        .split_whitespace()
        .next()
        .and_then(|n| n.parse().ok())
        .unwrap_or(f64::NAN);
    nanos / 1e9
}

fn report(name: &str, run: impl FnOnce() -> NetStats) {
    let before = cpu_seconds();
    let stats = run();
    let cpu = cpu_seconds() - before;
    println!(
        "{name:<34} {cpu:7.3} CPU s   {:>9} packets {:>9} polls {:>9} rounds {:>9} sweeps",
        stats.delivered, stats.polls, stats.rounds, stats.sweeps
    );
}

async fn tick(ctx: HostCtx) {
    loop {
        ctx.clock.sleep(Duration::from_secs(1)).await;
    }
}

fn idle_hosts(mut builder: SimBuilder, count: usize) -> SimBuilder {
    for i in 0..count {
        builder = builder.host(&format!("idle{i}"), HostConfig::default(), tick);
    }
    builder
}

async fn serve(ctx: HostCtx, body: Bytes) {
    ctx.spawn(tick(ctx.clone()));
    let Ok(listener) = TcpListener::bind("0.0.0.0:80").await else {
        return;
    };
    serve_fn(&ctx, listener, move |_| {
        std::future::ready(http::Response::new(body.clone()))
    })
    .await;
}

fn idle_day() -> NetStats {
    let run = idle_hosts(SimBuilder::new(NetConfig::new(1)), 10).run(|sim| async move {
        sim.sleep_until(DAY).await;
        sim.stats()
    });
    run.expect("an idle day")
}

/// Requests one after another, each on a new connection if `idle_max` is 0, beside `open` connections that do nothing.
fn pairs(count: u32, idle_max: usize, open: usize) -> NetStats {
    let client = move |ctx: HostCtx| async move {
        let mut unused = Vec::new();
        for _ in 0..open {
            unused.push(TcpStream::connect("server:80").await.expect("a connection"));
        }
        let client = Client::new(
            &ctx,
            ClientConfig {
                idle_max,
                ..ClientConfig::default()
            },
        );
        for _ in 0..count {
            client.get("server", 80, "/greet").await.expect("an answer");
        }
    };
    let builder = SimBuilder::new(NetConfig::new(1)).host("server", HostConfig::default(), |ctx| {
        serve(ctx, Bytes::from_static(b"hello"))
    });
    let run = idle_hosts(builder, 8)
        .host("client", HostConfig::default(), client)
        .run(|sim| async move {
            while sim.is_up("client") {
                sim.sleep_until(sim.now() + Duration::from_secs(1)).await;
            }
            sim.stats()
        });
    run.expect("HTTP pairs")
}

/// Eight hosts scraped every 15 s for a day, 30 000 bytes each.
fn scraped_day() -> NetStats {
    let body = Bytes::from(vec![b'm'; 30_000]);
    let mut builder = idle_hosts(SimBuilder::new(NetConfig::new(1)), 1);
    for i in 0..8 {
        let body = body.clone();
        builder = builder.host(&format!("target{i}"), HostConfig::default(), move |ctx| {
            serve(ctx, body.clone())
        });
    }
    let scraper = |ctx: HostCtx| async move {
        let client = Client::new(&ctx, ClientConfig::default());
        for i in 0..8u64 {
            let (client, ctx2) = (client.clone(), ctx.clone());
            ctx.spawn(async move {
                for k in 0.. {
                    ctx2.sim
                        .sleep_until(Duration::from_millis(15_000 * k + 100 * i + 1000))
                        .await;
                    client
                        .get(&format!("target{i}"), 80, "/metrics")
                        .await
                        .expect("a scrape");
                }
            });
        }
    };
    let run = builder
        .host("scraper", HostConfig::default(), scraper)
        .run(|sim| async move {
            sim.sleep_until(DAY).await;
            sim.stats()
        });
    run.expect("a scraped day")
}

fn main() {
    report("idle day, 10 hosts", idle_day);
    report("10000 HTTP pairs, 8 idle hosts", || pairs(10_000, 8, 0));
    report("the same, 200 open connections", || pairs(10_000, 8, 200));
    report("10000 HTTP pairs, new connections", || pairs(10_000, 0, 0));
    report("scraped day, 10 hosts, 46080 scrapes", scraped_day);
}
