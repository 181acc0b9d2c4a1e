//! What TCP promises, as bodies that run unchanged on each kind of sockets.

use crate::arms::{Behaviour, Env, Net, ms};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use std::io;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    task::JoinSet,
    time::{sleep, timeout},
};

/// Runs each behaviour in its arms and compares what the client saw.
macro_rules! conformance {
    ($($name:ident: $($arm:ident)+ => $expected:expr;)+) => {
        $(mod $name {
            $(#[test]
            fn $arm() {
                assert_eq!(crate::arms::$arm::<super::bodies::$name>(), $expected);
            })+
        })+
    };
}

conformance! {
    connect_to_a_closed_port: real sim stock => "ConnectionRefused";
    echo: real sim stock => "hello";
    addresses_match: real sim stock => "true";
    large_transfer_both_ways_with_small_reads: real sim => "1000000 bytes each way";
    data_then_eof_when_the_peer_drops: real sim stock => "bye, eof";
    half_close_still_receives: real sim stock => "server read 10 then answered";
    dropping_the_write_half_sends_eof: real sim stock => "server read 3 then answered";
    reset_when_dropped_with_unread_data: real sim => "reset";
    write_to_a_closed_peer_fails: real sim => "written, then reset";
    unaccepted_connections_are_reset_with_their_listener: real sim => "reset";
    killed_process_without_unread_data_is_eof: real sim => "eof, then ConnectionRefused";
    killed_process_with_unread_data_is_reset: real sim => "reset";
    a_restarted_process_binds_its_port_again: real sim => "first, eof, second";
    restart_with_many_open_connections: real sim => "20 of 20 reconnected";
    a_taken_port_cannot_be_bound: real sim stock => "AddrInUse";
    many_connections_at_once: real sim => "100 answered";
    connections_that_abort_do_not_disturb_the_listener: real sim => "hello";
    a_slow_reader_holds_the_writer_back: real sim => "blocked, then all 16777216 read";
    an_unread_connection_does_not_hold_another_back: real sim => "hello";
    http_keep_alive: real sim stock => "0 1 2 on one connection";
}

/// Resets have two names, depending on what the socket was doing.
fn name(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionAborted => "reset".into(),
        kind => format!("{kind:?}"),
    }
}

/// What one read gives: "eof", the text, or the error.
async fn read_once(stream: &mut (impl tokio::io::AsyncRead + Unpin)) -> String {
    let mut buffer = [0; 64];
    match stream.read(&mut buffer).await {
        Ok(0) => "eof".into(),
        Ok(n) => String::from_utf8_lossy(&buffer[..n]).into_owned(),
        Err(e) => name(&e),
    }
}

/// Accepts for ever and echoes each connection.
async fn echo_server<N: Net>(addr: String) {
    let listener = N::bind(&addr).await.unwrap();
    let mut tasks = JoinSet::new();
    loop {
        let Ok(mut stream) = N::accept(&listener).await else {
            return;
        };
        tasks.spawn_local(async move {
            let mut buffer = [0; 512];
            while let Ok(n @ 1..) = stream.read(&mut buffer).await {
                if stream.write_all(&buffer[..n]).await.is_err() {
                    break;
                }
            }
        });
    }
}

async fn say_hello<N: Net>(addr: &str) -> String {
    let mut stream = N::dial(addr).await;
    stream.write_all(b"hello").await.unwrap();
    let mut buffer = [0; 5];
    stream.read_exact(&mut buffer).await.unwrap();
    String::from_utf8_lossy(&buffer).into_owned()
}

/// Byte `i` of the transfer from the side with this salt.
fn pattern(i: usize, salt: u8) -> u8 {
    (i * 7 % 251) as u8 ^ salt
}

/// Sends and receives a million patterned bytes at once, reading `piece` bytes at a time; counts what came right.
async fn transfer<N: Net>(stream: N::Stream, piece: usize, mine: u8, theirs: u8) -> usize {
    let (mut read, mut write) = N::split(stream);
    let send = async move {
        let data: Vec<u8> = (0..1_000_000).map(|i| pattern(i, mine)).collect();
        write.write_all(&data).await.unwrap();
        write.shutdown().await.unwrap();
        write
    };
    let receive = async move {
        let (mut buffer, mut count) = (vec![0; piece], 0);
        loop {
            let n = read.read(&mut buffer).await.unwrap();
            if n == 0 {
                return count;
            }
            for byte in &buffer[..n] {
                assert_eq!(*byte, pattern(count, theirs), "at {count}");
                count += 1;
            }
        }
    };
    let (_open, count) = tokio::join!(send, receive);
    count
}

#[expect(
    non_camel_case_types,
    reason = "a behaviour is named like the test that runs it"
)]
mod bodies {
    use super::*;

    macro_rules! behaviour {
        ($name:ident, server($s_net:ident, $addr:ident) $server:block, client($c_net:ident, $env:ident) $client:block) => {
            pub struct $name;
            impl Behaviour for $name {
                async fn server<$s_net: Net>($addr: String) $server
                async fn client<$c_net: Net>($env: Env) -> String $client
            }
        };
    }

    behaviour!(connect_to_a_closed_port,
    server(N, addr) { drop(N::bind(&addr).await.unwrap()) },
    client(N, env) {
        sleep(ms(30)).await;
        N::connect(&env.addr).await.map_or_else(|e| name(&e), |_| "connected".into())
    });

    behaviour!(echo, server(N, addr) { echo_server::<N>(addr).await }, client(N, env) { say_hello::<N>(&env.addr).await });

    behaviour!(addresses_match,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let mut stream = N::accept(&listener).await.unwrap();
        let (local, peer) = N::ports(&stream);
        stream.write_u16(local).await.unwrap();
        stream.write_u16(peer).await.unwrap();
        sleep(ms(100)).await;
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        let (local, peer) = N::ports(&stream);
        let seen = (stream.read_u16().await.unwrap(), stream.read_u16().await.unwrap());
        (seen == (peer, local)).to_string()
    });

    behaviour!(large_transfer_both_ways_with_small_reads,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let stream = N::accept(&listener).await.unwrap();
        assert_eq!(transfer::<N>(stream, 1000, 1, 2).await, 1_000_000);
        sleep(ms(500)).await;
    },
    client(N, env) {
        let count = transfer::<N>(N::dial(&env.addr).await, 700, 2, 1).await;
        format!("{count} bytes each way")
    });

    behaviour!(data_then_eof_when_the_peer_drops,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        N::accept(&listener).await.unwrap().write_all(b"bye").await.unwrap();
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        let first = read_once(&mut stream).await;
        format!("{first}, {}", read_once(&mut stream).await)
    });

    behaviour!(half_close_still_receives,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let mut stream = N::accept(&listener).await.unwrap();
        let mut all = vec![];
        stream.read_to_end(&mut all).await.unwrap();
        stream.write_all(format!("server read {} then answered", all.len()).as_bytes()).await.unwrap();
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        stream.write_all(b"0123456789").await.unwrap();
        stream.shutdown().await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    });

    behaviour!(dropping_the_write_half_sends_eof,
    server(N, addr) { half_close_still_receives::server::<N>(addr).await },
    client(N, env) {
        let (mut read, mut write) = N::split(N::dial(&env.addr).await);
        write.write_all(b"abc").await.unwrap();
        drop(write);
        let mut answer = String::new();
        read.read_to_string(&mut answer).await.unwrap();
        answer
    });

    behaviour!(reset_when_dropped_with_unread_data,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let stream = N::accept(&listener).await.unwrap();
        sleep(ms(50)).await;
        drop(stream);
        sleep(ms(100)).await;
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        stream.write_all(b"never read").await.unwrap();
        read_once(&mut stream).await
    });

    behaviour!(write_to_a_closed_peer_fails,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        drop(N::accept(&listener).await.unwrap());
        sleep(ms(500)).await;
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        assert_eq!(read_once(&mut stream).await, "eof");
        let first = stream.write_all(b"one").await.map_or_else(|e| name(&e), |()| "written".into());
        sleep(ms(50)).await;
        format!("{first}, then {}", stream.write_all(b"two").await.map_or_else(|e| name(&e), |()| "written".into()))
    });

    behaviour!(unaccepted_connections_are_reset_with_their_listener,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        sleep(ms(250)).await;
        drop(listener);
        sleep(ms(100)).await;
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        stream.write_all(b"x").await.unwrap();
        read_once(&mut stream).await
    });

    behaviour!(killed_process_without_unread_data_is_eof,
    server(N, addr) { echo_server::<N>(addr).await },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        stream.write_all(b"x").await.unwrap();
        assert_eq!(read_once(&mut stream).await, "x");
        env.kill_server().await;
        let end = read_once(&mut stream).await;
        format!("{end}, then {}", N::connect(&env.addr).await.map_or_else(|e| name(&e), |_| "connected".into()))
    });

    behaviour!(killed_process_with_unread_data_is_reset,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let _unread = N::accept(&listener).await.unwrap();
        std::future::pending::<()>().await;
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        stream.write_all(b"x").await.unwrap();
        sleep(ms(50)).await;
        env.kill_server().await;
        read_once(&mut stream).await
    });

    behaviour!(a_restarted_process_binds_its_port_again,
    server(N, addr) { echo_server::<N>(addr).await },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        stream.write_all(b"first").await.unwrap();
        let first = read_once(&mut stream).await;
        env.kill_server().await;
        env.boot_server(); // the client's old connection is still open on its side
        sleep(ms(20)).await;
        let end = read_once(&mut stream).await;
        let mut again = N::dial(&env.addr).await;
        again.write_all(b"second").await.unwrap();
        format!("{first}, {end}, {}", read_once(&mut again).await)
    });

    behaviour!(restart_with_many_open_connections,
    server(N, addr) { echo_server::<N>(addr).await },
    client(N, env) {
        let mut open = vec![];
        for _ in 0..20 {
            let mut stream = N::dial(&env.addr).await;
            stream.write_all(b"x").await.unwrap();
            assert_eq!(read_once(&mut stream).await, "x");
            open.push(stream);
        }
        env.kill_server().await;
        env.boot_server();
        let mut again = 0;
        for mut stream in open {
            assert_eq!(read_once(&mut stream).await, "eof");
            again += usize::from(say_hello::<N>(&env.addr).await == "hello");
        }
        format!("{again} of 20 reconnected")
    });

    behaviour!(a_taken_port_cannot_be_bound,
        server(N, addr) {
            let listener = N::bind(&addr).await.unwrap();
            let error = N::bind(&addr).await.err().map_or_else(|| "bound".into(), |e| name(&e));
            N::accept(&listener).await.unwrap().write_all(error.as_bytes()).await.unwrap();
        },
        client(N, env) { read_once(&mut N::dial(&env.addr).await).await });

    behaviour!(many_connections_at_once,
    server(N, addr) { echo_server::<N>(addr).await },
    client(N, env) {
        drop(N::dial(&env.addr).await);
        let mut tasks = JoinSet::new();
        for i in 0..100u32 {
            let addr = env.addr.clone();
            tasks.spawn_local(async move {
                let mut stream = N::dial(&addr).await;
                stream.write_u32(i).await.unwrap();
                stream.read_u32().await.unwrap() == i
            });
        }
        let answered = tasks.join_all().await.into_iter().filter(|ok| *ok).count();
        format!("{answered} answered")
    });

    behaviour!(connections_that_abort_do_not_disturb_the_listener,
    server(N, addr) { echo_server::<N>(addr).await },
    client(N, env) {
        drop(N::dial(&env.addr).await);
        for wait in 0..12 {
            // Cut off in every phase of the handshake.
            let _ = timeout(ms(wait), N::connect(&env.addr)).await;
        }
        sleep(ms(50)).await;
        say_hello::<N>(&env.addr).await
    });

    const BULK: usize = 16 << 20;

    behaviour!(a_slow_reader_holds_the_writer_back,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let mut stream = N::accept(&listener).await.unwrap();
        sleep(ms(400)).await;
        let (mut buffer, mut total) = (vec![0; 8192], 0);
        while total < BULK {
            total += stream.read(&mut buffer).await.unwrap();
        }
        stream.write_all(format!("all {total} read").as_bytes()).await.unwrap();
        sleep(ms(100)).await;
    },
    client(N, env) {
        let mut stream = N::dial(&env.addr).await;
        let data = vec![1; BULK];
        let mut written = 0;
        let early = timeout(ms(200), async {
            while written < BULK {
                written += stream.write(&data[written..]).await.unwrap();
            }
        })
        .await;
        let held = if early.is_err() { "blocked" } else { "not blocked" };
        stream.write_all(&data[written..]).await.unwrap();
        format!("{held}, then {}", read_once(&mut stream).await)
    });

    behaviour!(an_unread_connection_does_not_hold_another_back,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let _unread = N::accept(&listener).await.unwrap();
        let mut stream = N::accept(&listener).await.unwrap();
        let mut buffer = [0; 5];
        stream.read_exact(&mut buffer).await.unwrap();
        stream.write_all(&buffer).await.unwrap();
        sleep(ms(100)).await;
    },
    client(N, env) {
        let mut full = N::dial(&env.addr).await;
        let _ = timeout(ms(100), full.write_all(&vec![0; BULK])).await;
        say_hello::<N>(&env.addr).await
    });

    behaviour!(http_keep_alive,
    server(N, addr) {
        let listener = N::bind(&addr).await.unwrap();
        let stream = N::accept(&listener).await.unwrap();
        let service = hyper::service::service_fn(|request: http::Request<hyper::body::Incoming>| async move {
            let path = request.uri().path()[1..].to_owned();
            Ok::<_, std::convert::Infallible>(http::Response::new(Full::new(Bytes::from(path))))
        });
        let _ = hyper::server::conn::http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
    },
    client(N, env) {
        let stream = N::dial(&env.addr).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::task::spawn_local(connection);
        let mut answers = String::new();
        for i in 0..3 {
            let request = http::Request::get(format!("/{i}")).header("host", "server").body(Full::<Bytes>::default()).unwrap();
            sender.ready().await.unwrap();
            let body = sender.send_request(request).await.unwrap().into_body().collect().await.unwrap().to_bytes();
            answers += &format!("{} ", String::from_utf8_lossy(&body));
        }
        answers + "on one connection"
    });
}
