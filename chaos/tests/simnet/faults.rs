//! Faults of links and the life of connections, with their exact consequences in virtual time.

use crate::{
    arms::ms,
    stage::{Log, echo, one_byte_at_1s, run, secs, steady},
};
use chaos::simnet::{HostCtx, NetConfig, TcpListener, TcpStream};
use std::{cell::RefCell, rc::Rc};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

#[test]
fn without_faults_the_answer_takes_one_round_trip() {
    let (log, stats) = run(steady(1), echo, one_byte_at_1s, |sim| async move {
        sim.sleep_until(secs(2)).await
    });
    assert_eq!(log.at("answer 7"), 1004);
    assert_eq!(
        (stats.lost, stats.retransmissions, stats.given_up),
        (0, 0, 0)
    );
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
        assert_eq!(
            served.borrow().is_some_and(|at| at < secs(3)),
            served_while_cut,
            "{from} → {to}"
        );
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
    assert!(
        times[1..times.len() - 1].iter().all(|at| *at == 3502),
        "{times:?}"
    );
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
        assert!(
            data.iter()
                .enumerate()
                .all(|(i, byte)| *byte == (i % 249) as u8)
        );
        log.note(&ctx.sim, format!("{} bytes", data.len()));
    };
    let config = NetConfig {
        mtu: 1500,
        ..NetConfig::new(5)
    };
    let (log, stats) = run(config, server, client, |sim| async move {
        sim.set_loss("server", "client", 100_000);
        sim.sleep_until(secs(600)).await;
        assert!(!sim.is_up("client"));
    });
    assert_eq!(log.texts(), ["300000 bytes"]);
    assert!(
        stats.lost > 20 && stats.retransmissions >= stats.lost - 1,
        "{stats:?}"
    );
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
    let config = NetConfig {
        backlog: 3,
        ..steady(1)
    };
    let (log, stats) = run(config, server, client, |sim| async move {
        sim.sleep_until(secs(10)).await
    });
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
            log.note(
                &ctx.sim,
                format!("accepted {:?}", stream.read_u8().await.ok()),
            );
            if ctx.sim.now() > secs(1000) {
                drop((listener, stream)); // the port is free again: nothing of the dead handshakes is left on it
                return log.note(
                    &ctx.sim,
                    format!("rebound {}", TcpListener::bind("0.0.0.0:80").await.is_ok()),
                );
            }
        }
    };
    let client = |ctx: HostCtx, _| async move {
        assert!(
            timeout(ms(3), TcpStream::connect("server:80"))
                .await
                .is_err()
        ); // cancelled while the SYN-ACK is under way
        ctx.sim.sleep_until(secs(1)).await;
        ctx.sim.partition_one_way("server", "client");
        assert!(
            timeout(secs(1), TcpStream::connect("server:80"))
                .await
                .is_err()
        ); // the SYN-ACK never arrives
        ctx.sim.sleep_until(secs(500)).await;
        ctx.sim.repair_one_way("server", "client");
        ctx.sim.sleep_until(secs(1500)).await;
        TcpStream::connect("server:80")
            .await
            .unwrap()
            .write_u8(9)
            .await
            .unwrap();
    };
    let (log, _) = run(steady(1), server, client, |sim| async move {
        sim.sleep_until(secs(1600)).await
    });
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
            log.note(
                &ctx.sim,
                stream
                    .write_u8(1)
                    .await
                    .map_or_else(|e| format!("{:?}", e.kind()), |()| "written".into()),
            );
        }
    };
    let client = |ctx: HostCtx, log: Log| async move {
        drop(TcpStream::connect("server:80").await.unwrap());
        for at in [59, 61] {
            ctx.sim.sleep_until(secs(at)).await;
            log.note(
                &ctx.sim,
                format!("{} sockets", turmoil_net::netstat("client").entries.len()),
            );
        }
    };
    let (log, _) = run(steady(1), server, client, |sim| async move {
        sim.sleep_until(secs(200)).await
    });
    assert_eq!(
        log.texts(),
        ["1 sockets", "0 sockets", "written", "ConnectionReset"]
    );
}
