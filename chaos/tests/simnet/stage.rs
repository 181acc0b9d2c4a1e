//! A server, a client and a script, for the tests of faults.

use crate::arms::ms;
use chaos::simnet::{
    HostConfig, HostCtx, LinkConfig, NetConfig, NetStats, Sim, SimBuilder, TcpListener, TcpStream,
};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

pub const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the client and the server of a run noted: virtual milliseconds and text.
#[derive(Clone, Default)]
pub struct Log(pub Rc<RefCell<Vec<(u128, String)>>>);

impl Log {
    pub fn note(&self, sim: &Sim, text: impl Into<String>) {
        self.0
            .borrow_mut()
            .push((sim.now().as_millis(), text.into()));
    }

    /// The texts alone.
    pub fn texts(&self) -> Vec<String> {
        self.0
            .borrow()
            .iter()
            .map(|(_, text)| text.clone())
            .collect()
    }

    /// When the text was noted first.
    #[track_caller]
    pub fn at(&self, text: &str) -> u128 {
        let log = self.0.borrow();
        log.iter()
            .find(|(_, t)| t == text)
            .unwrap_or_else(|| panic!("no {text:?} in {log:?}"))
            .0
    }

    #[track_caller]
    pub fn between(&self, text: &str, range: std::ops::RangeInclusive<u128>) {
        assert!(
            range.contains(&self.at(text)),
            "{text:?} at {} ms, expected {range:?}: {:?}",
            self.at(text),
            self.0.borrow()
        );
    }
}

/// A link of exactly 2 ms each way.
pub fn steady(seed: u64) -> NetConfig {
    NetConfig {
        link: LinkConfig::latency(ms(2), ms(2)),
        ..NetConfig::new(seed)
    }
}

pub fn run<S, FS, C, FC, P, FP>(
    config: NetConfig,
    server: S,
    client: C,
    script: P,
) -> (Log, NetStats)
where
    S: Fn(HostCtx, Log) -> FS + 'static,
    FS: Future<Output = ()> + 'static,
    C: Fn(HostCtx, Log) -> FC + 'static,
    FC: Future<Output = ()> + 'static,
    P: FnOnce(Sim) -> FP + 'static,
    FP: Future<Output = ()> + 'static,
{
    let log = Log::default();
    let (of_server, of_client) = (log.clone(), log.clone());
    let stats = SimBuilder::new(config)
        .host("server", HostConfig::default(), move |ctx| {
            server(ctx, of_server.clone())
        })
        .host("client", HostConfig::default(), move |ctx| {
            client(ctx, of_client.clone())
        })
        .run(move |sim| async move {
            script(sim.clone()).await;
            sim.stats()
        })
        .unwrap();
    (log, stats)
}

/// Echoes single bytes on any number of connections.
pub async fn echo(ctx: HostCtx, log: Log) {
    let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
    log.note(&ctx.sim, format!("boot {}", ctx.boot));
    loop {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (ctx2, log) = (ctx.clone(), log.clone());
        ctx.spawn(async move {
            loop {
                match stream.read_u8().await {
                    Ok(byte) => stream.write_u8(byte).await.unwrap(),
                    Err(e) => return log.note(&ctx2.sim, format!("server: {:?}", e.kind())),
                }
            }
        });
    }
}

pub async fn connected() -> TcpStream {
    let mut stream = TcpStream::connect("server:80").await.unwrap();
    stream.write_u8(0).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0);
    stream
}

/// Connects, waits until 1 s, sends a byte and notes what comes back.
pub async fn one_byte_at_1s(ctx: HostCtx, log: Log) {
    let mut stream = connected().await;
    ctx.sim.sleep_until(secs(1)).await;
    stream.write_u8(7).await.unwrap();
    let answer = stream.read_u8().await;
    log.note(
        &ctx.sim,
        answer.map_or_else(|e| format!("{:?}", e.kind()), |b| format!("answer {b}")),
    );
}
