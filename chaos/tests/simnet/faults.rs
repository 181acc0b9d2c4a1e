//! Faults that only the simulation can cause, with their exact consequences in virtual time.

use crate::arms::ms;
use chaos::simnet::{HostConfig, HostCtx, LinkConfig, NetConfig, NetStats, Sim, SimBuilder, TcpListener, TcpStream};
use std::{cell::RefCell, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

const fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// What the client and the server of a run noted: virtual milliseconds and text.
#[derive(Clone, Default)]
struct Log(Rc<RefCell<Vec<(u128, String)>>>);

impl Log {
    fn note(&self, sim: &Sim, text: impl Into<String>) {
        self.0.borrow_mut().push((sim.now().as_millis(), text.into()));
    }

    /// The texts alone.
    fn texts(&self) -> Vec<String> {
        self.0.borrow().iter().map(|(_, text)| text.clone()).collect()
    }

    /// When the text was noted first.
    #[track_caller]
    fn at(&self, text: &str) -> u128 {
        let log = self.0.borrow();
        log.iter().find(|(_, t)| t == text).unwrap_or_else(|| panic!("no {text:?} in {log:?}")).0
    }

    #[track_caller]
    fn between(&self, text: &str, range: std::ops::RangeInclusive<u128>) {
        assert!(range.contains(&self.at(text)), "{text:?} at {} ms, expected {range:?}: {:?}", self.at(text), self.0.borrow());
    }
}

/// A link of exactly 2 ms each way.
fn steady(seed: u64) -> NetConfig {
    NetConfig { link: LinkConfig::latency(ms(2), ms(2)), ..NetConfig::new(seed) }
}

fn run<S, FS, C, FC, P, FP>(config: NetConfig, server: S, client: C, script: P) -> (Log, NetStats)
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
        .host("server", HostConfig::default(), move |ctx| server(ctx, of_server.clone()))
        .host("client", HostConfig::default(), move |ctx| client(ctx, of_client.clone()))
        .run(move |sim| async move {
            script(sim.clone()).await;
            sim.stats()
        })
        .unwrap();
    (log, stats)
}

/// Echoes single bytes on any number of connections.
async fn echo(ctx: HostCtx, log: Log) {
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

async fn connected() -> TcpStream {
    let mut stream = TcpStream::connect("server:80").await.unwrap();
    stream.write_u8(0).await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 0);
    stream
}

/// Connects, waits until 1 s, sends a byte and notes what comes back.
async fn one_byte_at_1s(ctx: HostCtx, log: Log) {
    let mut stream = connected().await;
    ctx.sim.sleep_until(secs(1)).await;
    stream.write_u8(7).await.unwrap();
    let answer = stream.read_u8().await;
    log.note(&ctx.sim, answer.map_or_else(|e| format!("{:?}", e.kind()), |b| format!("answer {b}")));
}

#[test]
fn without_faults_the_answer_takes_one_round_trip() {
    let (log, stats) = run(steady(1), echo, one_byte_at_1s, |sim| async move { sim.sleep_until(secs(2)).await });
    assert_eq!(log.at("answer 7"), 1004);
    assert_eq!((stats.lost, stats.retransmissions, stats.given_up), (0, 0, 0));
}

#[test]
fn a_stream_goes_on_at_the_first_retransmission_after_a_partition_heals() {
    // Sent at 1.0 s, repeated after 0.2, 0.4, 0.8, 1.6 s: at 1.2, 1.6, 2.4, 4.0 s. Healed at 3 s.
    let (log, stats) = run(steady(1), echo, one_byte_at_1s, |sim| async move {
        sim.sleep_until(ms(900)).await;
        sim.partition("server", "client");
        assert!(!sim.is_reachable("client", "server"));
        sim.sleep_until(secs(3)).await;
        sim.repair("server", "client");
        sim.sleep_until(secs(10)).await;
    });
    assert_eq!(log.at("answer 7"), 4004);
    assert_eq!((stats.lost, stats.retransmissions), (4, 4));
}

#[test]
fn one_way_partitions_lose_requests_or_answers() {
    for (from, to, served_while_cut) in [("client", "server", false), ("server", "client", true)] {
        let served = Rc::new(RefCell::new(None));
        let seen = served.clone();
        let server = move |ctx: HostCtx, _| {
            let seen = seen.clone();
            async move {
                let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
                let (mut stream, _) = listener.accept().await.unwrap();
                while let Ok(byte) = stream.read_u8().await {
                    *seen.borrow_mut() = (byte == 7).then(|| ctx.sim.now());
                    stream.write_u8(byte).await.unwrap();
                }
            }
        };
        let (log, _) = run(steady(1), server, one_byte_at_1s, move |sim| async move {
            sim.sleep_until(ms(900)).await;
            sim.partition_one_way(from, to);
            sim.sleep_until(secs(3)).await;
            sim.repair_one_way(from, to);
            sim.sleep_until(secs(10)).await;
        });
        assert_eq!(served.borrow().is_some_and(|at| at < secs(3)), served_while_cut, "{from} → {to}");
        log.between("answer 7", 4000..=4010);
    }
}

#[test]
fn held_packets_arrive_in_order_when_released() {
    let server = |ctx: HostCtx, log: Log| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut buffer = [0; 100];
        while let Ok(n @ 1..) = stream.read(&mut buffer).await {
            log.note(&ctx.sim, String::from_utf8_lossy(&buffer[..n]));
        }
    };
    let client = |ctx: HostCtx, _| async move {
        let mut stream = TcpStream::connect("server:80").await.unwrap();
        for (i, word) in ["a", "b", "c", "d"].iter().enumerate() {
            ctx.sim.sleep_until(secs(1 + i as u64)).await;
            stream.write_all(word.as_bytes()).await.unwrap();
        }
        std::future::pending::<()>().await;
    };
    let (log, stats) = run(steady(1), server, client, |sim| async move {
        sim.sleep_until(ms(1500)).await;
        sim.hold("client", "server");
        assert!(sim.is_reachable("client", "server"));
        sim.sleep_until(ms(3500)).await;
        sim.release("client", "server");
        sim.sleep_until(secs(6)).await;
    });
    let times: Vec<u128> = log.0.borrow().iter().map(|(at, _)| *at).collect();
    assert_eq!(log.texts().concat(), "abcd");
    assert!(times[1..times.len() - 1].iter().all(|at| *at == 3502), "{times:?}");
    assert_eq!((stats.lost, stats.retransmissions), (0, 0));
}

#[test]
fn heavy_loss_delays_but_never_corrupts() {
    let server = |_, _| async {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let data: Vec<u8> = (0..300_000u32).map(|i| (i % 249) as u8).collect();
        stream.write_all(&data).await.unwrap();
    };
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = TcpStream::connect("server:80").await.unwrap();
        let mut data = vec![];
        stream.read_to_end(&mut data).await.unwrap();
        assert!(data.iter().enumerate().all(|(i, byte)| *byte == (i % 249) as u8));
        log.note(&ctx.sim, format!("{} bytes", data.len()));
    };
    let config = NetConfig { mtu: 1500, ..NetConfig::new(5) };
    let (log, stats) = run(config, server, client, |sim| async move {
        sim.set_loss("server", "client", 100_000);
        sim.sleep_until(secs(600)).await;
        assert!(!sim.is_up("client"));
    });
    assert_eq!(log.texts(), ["300000 bytes"]);
    assert!(stats.lost > 20 && stats.retransmissions >= stats.lost - 1, "{stats:?}");
}

#[test]
fn a_crash_is_silent_to_a_peer_that_only_listens() {
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = connected().await;
        log.note(&ctx.sim, "connected");
        let end = timeout(secs(5000), stream.read_u8()).await;
        log.note(&ctx.sim, end.map_or_else(|_| "silence".into(), |r| format!("{r:?}")));
    };
    let (log, _) = run(steady(1), echo, client, |sim| async move {
        sim.sleep_until(secs(1)).await;
        sim.crash("server");
        assert!(!sim.is_up("server"));
        sim.sleep_until(secs(10_000)).await;
    });
    assert_eq!(log.texts(), ["boot 1", "connected", "silence"]);
}

#[test]
fn a_half_open_peer_is_reset_by_the_rebooted_host_when_it_writes() {
    let (log, _) = run(steady(1), echo, one_byte_at_1s, |sim| async move {
        sim.sleep_until(ms(500)).await;
        sim.crash("server");
        sim.sleep_until(ms(600)).await;
        sim.boot("server");
        sim.sleep_until(secs(3)).await;
    });
    assert_eq!(log.at("ConnectionReset"), 1004);
    assert_eq!(log.at("boot 2"), 600);
}

#[test]
fn retransmission_gives_up_after_linux_time() {
    // Never rebooted: 0.2 · (2¹⁰ − 1) + 6 · 120 s after the first transmission.
    let (log, stats) = run(steady(1), echo, one_byte_at_1s, |sim| async move {
        sim.sleep_until(ms(500)).await;
        sim.crash("server");
        sim.sleep_until(secs(2000)).await;
    });
    assert_eq!(log.at("TimedOut"), 1000 + 924_600);
    assert_eq!((stats.given_up, stats.retransmissions), (1, 15));
}

#[test]
fn an_unanswered_half_of_a_one_way_partition_times_out_at_both_ends() {
    let server = |ctx: HostCtx, log: Log| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        loop {
            match stream.read_u8().await {
                Ok(byte) => drop(stream.write_u8(byte).await),
                Err(e) => return log.note(&ctx.sim, format!("server {:?}", e.kind())),
            }
        }
    };
    let (log, _) = run(steady(1), server, one_byte_at_1s, |sim| async move {
        sim.sleep_until(ms(500)).await;
        sim.partition_one_way("server", "client");
        sim.sleep_until(secs(2000)).await;
    });
    log.between("TimedOut", 920_000..=930_000);
    log.between("server TimedOut", 920_000..=930_000);
}

#[test]
fn connecting_to_a_host_without_power_times_out_after_127_s() {
    let client = |ctx: HostCtx, log: Log| async move {
        ctx.sim.sleep_until(secs(1)).await;
        let error = TcpStream::connect("server:80").await.unwrap_err();
        log.note(&ctx.sim, format!("{:?}", error.kind()));
        ctx.sim.boot("server");
        ctx.clock.sleep(ms(10)).await;
        drop(connected().await);
        log.note(&ctx.sim, "connected");
    };
    let (log, _) = run(steady(1), echo, client, |sim| async move {
        sim.crash("server");
        sim.sleep_until(secs(300)).await;
    });
    assert_eq!(log.at("TimedOut"), 128_000);
    assert_eq!(log.at("connected"), 128_010 + 8);
}

#[test]
fn a_connect_goes_through_when_the_host_comes_back_in_time() {
    let client = |ctx: HostCtx, log: Log| async move {
        ctx.sim.sleep_until(secs(1)).await;
        drop(connected().await);
        log.note(&ctx.sim, "connected");
    };
    // SYN at 1 s, repeated at 2, 4, 8 s; power back at 5 s.
    let (log, _) = run(steady(1), echo, client, |sim| async move {
        sim.crash("server");
        sim.sleep_until(secs(5)).await;
        sim.boot("server");
        sim.sleep_until(secs(20)).await;
    });
    assert_eq!(log.at("connected"), 8008);
}

#[test]
fn what_is_on_the_wire_at_a_crash_arrives_and_what_is_not_is_lost() {
    let server = |ctx: HostCtx, _| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_u8(1).await.unwrap();
        ctx.sim.sleep_until(secs(1)).await;
        stream.write_u8(2).await.unwrap();
        ctx.sim.sleep_until(ms(1001)).await;
        ctx.sim.crash("server");
        stream.write_u8(3).await.unwrap();
        ctx.sim.sleep_until(secs(2)).await;
        stream.write_u8(4).await.unwrap();
    };
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = TcpStream::connect("server:80").await.unwrap();
        while let Ok(Ok(byte)) = timeout(secs(100), stream.read_u8()).await {
            log.note(&ctx.sim, byte.to_string());
        }
        log.note(&ctx.sim, "silence");
    };
    let (log, _) = run(steady(1), server, client, |sim| async move { sim.sleep_until(secs(300)).await });
    // The third byte left in the same instant, before the command was carried out.
    assert_eq!(log.texts(), ["1", "2", "3", "silence"]);
}

#[test]
fn a_crashed_and_restarted_listener_takes_its_port_again() {
    let (log, _) = run(steady(1), echo, |_, _| async { std::future::pending().await }, |sim| async move {
        sim.sleep_until(ms(1)).await;
        for boot in 2..6 {
            sim.crash("server");
            sim.sleep_until(sim.now() + ms(3)).await;
            sim.boot("server");
            sim.sleep_until(sim.now() + ms(boot)).await;
            assert!(sim.is_up("server"));
        }
    });
    assert_eq!(log.texts(), ["boot 1", "boot 2", "boot 3", "boot 4", "boot 5"]);
}

#[test]
fn a_stalled_process_answers_late_while_its_kernel_goes_on() {
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = connected().await;
        ctx.sim.sleep_until(secs(1)).await;
        stream.write_u8(7).await.unwrap();
        drop(TcpStream::connect("server:80").await.unwrap());
        log.note(&ctx.sim, "handshake");
        stream.read_u8().await.unwrap();
        log.note(&ctx.sim, "answer");
    };
    let (log, stats) = run(steady(1), echo, client, |sim| async move {
        sim.sleep_until(ms(500)).await;
        sim.stall("server", secs(5));
        assert!(sim.is_up("server"));
        sim.sleep_until(secs(20)).await;
    });
    assert_eq!((log.at("handshake"), log.at("answer")), (1004, 5502));
    assert_eq!(stats.lost, 0);
}

#[test]
fn a_freeze_lasts_until_thawed_and_outlives_an_earlier_stall() {
    let (log, _) = run(steady(1), echo, one_byte_at_1s, |sim| async move {
        sim.sleep_until(ms(500)).await;
        sim.stall("server", secs(1));
        sim.freeze("server");
        sim.sleep_until(secs(30)).await;
        sim.thaw("server");
        sim.sleep_until(secs(31)).await;
    });
    assert_eq!(log.at("answer 7"), 30_002);
}

#[test]
fn a_full_accept_queue_loses_syns_and_they_are_repeated() {
    let server = |ctx: HostCtx, _| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        ctx.sim.sleep_until(ms(1500)).await;
        let mut open = vec![];
        while open.len() < 5 {
            open.push(listener.accept().await.unwrap());
        }
        std::future::pending::<()>().await;
    };
    let client = |ctx: HostCtx, log: Log| async move {
        for _ in 0..5 {
            let (ctx2, log) = (ctx.clone(), log.clone());
            ctx.spawn(async move {
                let stream = TcpStream::connect("server:80").await.unwrap();
                log.note(&ctx2.sim, "connected");
                ctx2.sim.sleep_until(secs(100)).await;
                drop(stream);
            });
        }
    };
    let config = NetConfig { backlog: 3, ..steady(1) };
    let (log, stats) = run(config, server, client, |sim| async move { sim.sleep_until(secs(10)).await });
    let times: Vec<u128> = log.0.borrow().iter().map(|(at, _)| *at).collect();
    // Three at once; the other two try again after 1 s (still full) and 2 s more.
    assert_eq!(times, [4, 4, 4, 3008, 3008]);
    assert_eq!(stats.backlog_full, 4);
}

#[test]
fn a_connection_that_dies_in_its_handshake_is_never_accepted() {
    let server = |ctx: HostCtx, log: Log| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            log.note(&ctx.sim, format!("accepted {:?}", stream.read_u8().await.ok()));
            if ctx.sim.now() > secs(1000) {
                drop((listener, stream)); // the port is free again: nothing of the dead handshakes is left on it
                return log.note(&ctx.sim, format!("rebound {}", TcpListener::bind("0.0.0.0:80").await.is_ok()));
            }
        }
    };
    let client = |ctx: HostCtx, _| async move {
        assert!(timeout(ms(3), TcpStream::connect("server:80")).await.is_err()); // cancelled while the SYN-ACK is under way
        ctx.sim.sleep_until(secs(1)).await;
        ctx.sim.partition_one_way("server", "client");
        assert!(timeout(secs(1), TcpStream::connect("server:80")).await.is_err()); // the SYN-ACK never arrives
        ctx.sim.sleep_until(secs(500)).await;
        ctx.sim.repair_one_way("server", "client");
        ctx.sim.sleep_until(secs(1500)).await;
        TcpStream::connect("server:80").await.unwrap().write_u8(9).await.unwrap();
    };
    let (log, _) = run(steady(1), server, client, |sim| async move { sim.sleep_until(secs(1600)).await });
    assert_eq!(log.texts(), ["accepted Some(9)", "rebound true"]);
}

#[test]
fn an_abandoned_connection_is_forgotten_after_a_minute() {
    let server = |ctx: HostCtx, log: Log| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        assert_eq!(stream.read(&mut [0; 10]).await.unwrap(), 0);
        ctx.sim.sleep_until(secs(30)).await; // does not close its side
        for at in [100, 101] {
            ctx.sim.sleep_until(secs(at)).await;
            log.note(&ctx.sim, stream.write_u8(1).await.map_or_else(|e| format!("{:?}", e.kind()), |()| "written".into()));
        }
    };
    let client = |_, _| async {
        drop(TcpStream::connect("server:80").await.unwrap());
        std::future::pending::<()>().await;
    };
    let (log, _) = run(steady(1), server, client, |sim| async move { sim.sleep_until(secs(200)).await });
    assert_eq!(log.texts(), ["written", "ConnectionReset"]);
}

#[test]
fn graceful_stop_waits_for_the_main_task_and_drops_the_rest() {
    let server = |ctx: HostCtx, log: Log| async move {
        ctx.spawn(std::future::pending::<()>());
        ctx.stop.wait().await;
        ctx.clock.sleep(ms(300)).await;
        log.note(&ctx.sim, "stopped");
    };
    let (log, _) = run(steady(1), server, |_, _| async {}, |sim| async move {
        sim.sleep_until(secs(1)).await;
        sim.stop("server");
        sim.sleep_until(ms(1299)).await;
        assert!(sim.is_up("server"));
        sim.sleep_until(ms(1301)).await;
        assert!(!sim.is_up("server"));
        sim.boot("server");
        assert!(sim.is_up("server"));
        sim.sleep_until(secs(2)).await;
        assert!(sim.is_up("server"));
    });
    assert_eq!(log.at("stopped"), 1300);
}

#[test]
fn clocks_differ_per_host_and_drift() {
    let host = |ctx: HostCtx, log: Log| async move {
        for _ in 0..2 {
            ctx.clock.sleep(secs(1000)).await;
            log.note(&ctx.sim, format!("{} {}", ctx.name, ctx.clock.unix_nanos()));
        }
    };
    let config = NetConfig { epoch_unix_nanos: 0, ..steady(1) };
    let (log, _) = run(config, host, host, |sim| async move {
        sim.set_clock("client", -2_500_000_000, 1_000_000); // twice as fast
        sim.sleep_until(secs(3000)).await;
    });
    assert_eq!(
        *log.0.borrow(),
        [
            (500_000, "client 997500000000".to_owned()),
            (1_000_000, "server 1000000000000".to_owned()),
            (1_000_000, "client 1997500000000".to_owned()),
            (2_000_000, "server 2000000000000".to_owned()),
        ]
    );
}

#[test]
fn cores_queue_slow_down_and_pause() {
    let server = |ctx: HostCtx, log: Log| async move {
        for i in 0..4 {
            let (ctx2, log) = (ctx.clone(), log.clone());
            ctx.spawn(async move {
                ctx2.cpu.work(ms(10)).await;
                log.note(&ctx2.sim, format!("job {i}"));
            });
        }
        ctx.sim.sleep_until(ms(100)).await;
        for _ in 0..100 {
            ctx.cpu.work(Duration::from_micros(40)).await;
        }
        log.note(&ctx.sim, "small jobs");
        ctx.sim.slow_cpu("server", 5);
        ctx.sim.sleep_until(ms(200)).await;
        ctx.cpu.work(ms(10)).await;
        log.note(&ctx.sim, format!("slow, {} ms used", ctx.cpu.busy_nanos() / 1_000_000));
    };
    let (log, _) = run(steady(1), server, |_, _| async {}, |sim| async move { sim.sleep_until(secs(1)).await });
    assert_eq!([0, 1, 2, 3].map(|i| log.at(&format!("job {i}"))), [10, 20, 30, 40]);
    log.between("small jobs", 103..=104);
    assert_eq!(log.at("slow, 94 ms used"), 250);
}
