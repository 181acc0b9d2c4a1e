//! Faults of hosts: power, processes, stalls, clocks and cores, with their exact consequences in virtual time.

use crate::{
    arms::ms,
    stage::{Log, connected, echo, one_byte_at_1s, run, secs, steady},
};
use chaos::simnet::{HostCtx, LinkConfig, NetConfig, TcpListener, TcpStream};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

#[test]
fn a_crash_is_silent_to_a_peer_that_only_listens() {
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = connected().await;
        log.note(&ctx.sim, "connected");
        let end = timeout(secs(5000), stream.read_u8()).await;
        log.note(
            &ctx.sim,
            end.map_or_else(|_| "silence".into(), |r| format!("{r:?}")),
        );
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
    let (log, _) = run(steady(1), server, client, |sim| async move {
        sim.sleep_until(secs(300)).await
    });
    // The third byte left in the same instant, before the command was carried out.
    assert_eq!(log.texts(), ["1", "2", "3", "silence"]);
}

#[test]
fn a_crashed_and_restarted_listener_takes_its_port_again() {
    let (log, _) = run(
        steady(1),
        echo,
        |_, _| async { std::future::pending().await },
        |sim| async move {
            sim.sleep_until(ms(1)).await;
            for boot in 2..6 {
                sim.crash("server");
                sim.sleep_until(sim.now() + ms(3)).await;
                sim.boot("server");
                sim.sleep_until(sim.now() + ms(boot)).await;
                assert!(sim.is_up("server"));
            }
        },
    );
    assert_eq!(
        log.texts(),
        ["boot 1", "boot 2", "boot 3", "boot 4", "boot 5"]
    );
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
fn graceful_stop_waits_for_the_main_task_and_drops_the_rest() {
    let server = |ctx: HostCtx, log: Log| async move {
        ctx.spawn(std::future::pending::<()>());
        ctx.stop.wait().await;
        ctx.clock.sleep(ms(300)).await;
        log.note(&ctx.sim, "stopped");
    };
    let (log, _) = run(
        steady(1),
        server,
        |_, _| async {},
        |sim| async move {
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
        },
    );
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
    let config = NetConfig {
        epoch_unix_nanos: 0,
        ..steady(1)
    };
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
        log.note(
            &ctx.sim,
            format!("slow, {} ms used", ctx.cpu.busy_nanos() / 1_000_000),
        );
    };
    let (log, _) = run(
        steady(1),
        server,
        |_, _| async {},
        |sim| async move { sim.sleep_until(secs(1)).await },
    );
    assert_eq!(
        [0, 1, 2, 3].map(|i| log.at(&format!("job {i}"))),
        [10, 20, 30, 40]
    );
    log.between("small jobs", 103..=104);
    assert_eq!(log.at("slow, 94 ms used"), 250);
}

#[test]
fn a_stall_pauses_the_work_of_the_cores() {
    let server = |ctx: HostCtx, log: Log| async move {
        let (ctx2, log2) = (ctx.clone(), log.clone());
        ctx.spawn(async move {
            ctx2.cpu.work(ms(100)).await;
            log2.note(&ctx2.sim, "first");
        });
        ctx.sim.sleep_until(ms(60)).await; // wakes late
        ctx.cpu.work(ms(10)).await;
        log.note(&ctx.sim, "second");
    };
    let (log, _) = run(
        steady(1),
        server,
        |_, _| async {},
        |sim| async move {
            sim.sleep_until(ms(50)).await;
            sim.stall("server", secs(1));
            sim.sleep_until(secs(2)).await;
        },
    );
    assert_eq!((log.at("first"), log.at("second")), (1100, 1110));
}

#[test]
fn a_connection_left_over_by_a_crashed_client_does_not_block_its_port_for_ever() {
    let server = |ctx: HostCtx, log: Log| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        loop {
            let (mut stream, peer) = listener.accept().await.unwrap();
            let (ctx2, log) = (ctx.clone(), log.clone());
            ctx.spawn(async move {
                let end = stream.read(&mut [0]).await.map_err(|e| e.kind());
                log.note(&ctx2.sim, format!("{} {end:?}", peer.port()));
            });
        }
    };
    let client = |ctx: HostCtx, log: Log| async move {
        if ctx.boot == 1 {
            let _kept = TcpStream::connect("server:80").await.unwrap();
            return std::future::pending().await;
        }
        // All ephemeral ports but one are used up by connections that are refused.
        for _ in 0..16_383 {
            TcpStream::connect("server:81").await.unwrap_err();
        }
        log.note(&ctx.sim, "wrapped");
        drop(TcpStream::connect("server:80").await.unwrap());
    };
    let config = NetConfig {
        link: LinkConfig::latency(ms(0), ms(0)),
        ..NetConfig::new(1)
    };
    let (log, _) = run(config, server, client, |sim| async move {
        sim.sleep_until(ms(1)).await;
        sim.crash("client");
        sim.boot("client");
        sim.sleep_until(secs(20)).await;
    });
    assert_eq!(
        log.texts(),
        ["wrapped", "49152 Err(ConnectionReset)", "49152 Ok(0)"]
    );
    assert_eq!(log.at("49152 Ok(0)") - log.at("wrapped"), 1000);
}

#[test]
fn what_a_crashed_host_had_still_to_repeat_is_never_sent() {
    let server = |ctx: HostCtx, _| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        ctx.sim.sleep_until(secs(1)).await;
        stream.write_u8(1).await.unwrap();
        std::future::pending::<()>().await;
    };
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = TcpStream::connect("server:80").await.unwrap();
        let end = timeout(secs(100), stream.read_u8()).await;
        log.note(&ctx.sim, if end.is_err() { "silence" } else { "data" });
    };
    let (log, _) = run(steady(1), server, client, |sim| async move {
        sim.sleep_until(ms(500)).await;
        sim.partition("server", "client");
        sim.sleep_until(ms(1500)).await;
        sim.crash("server");
        sim.boot("server");
        sim.repair("server", "client");
        sim.sleep_until(secs(200)).await;
    });
    assert_eq!(log.texts(), ["silence"]);
}

#[test]
fn a_restart_resets_readers_of_data_that_the_old_process_could_not_send() {
    let server = |ctx: HostCtx, log: Log| async move {
        let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
        log.note(&ctx.sim, format!("boot {}", ctx.boot));
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&[0; 120_000]).await.unwrap(); // both buffers hold it; the window is shut
        std::future::pending::<()>().await;
    };
    let client = |ctx: HostCtx, log: Log| async move {
        let mut stream = TcpStream::connect("server:80").await.unwrap();
        ctx.sim.sleep_until(secs(2)).await;
        let end = timeout(secs(100), stream.read_to_end(&mut vec![])).await;
        log.note(
            &ctx.sim,
            format!("{:?}", end.map(|r| r.map_err(|e| e.kind()))),
        );
    };
    let (log, _) = run(steady(1), server, client, |sim| async move {
        sim.sleep_until(secs(1)).await;
        sim.kill("server");
        sim.boot("server");
        sim.sleep_until(secs(200)).await;
    });
    assert_eq!(
        log.texts(),
        ["boot 1", "boot 2", "Ok(Err(ConnectionReset))"]
    );
}
