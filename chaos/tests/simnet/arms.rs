//! The arms of the conformance suite: loopback sockets of the kernel, our event loop, stock `turmoil`.
//!
//! One body per behaviour, generic over [`Net`]; each arm only knows how to start a server and a client and how to kill and
//! restart the server. A body may not know which arm it runs in.

use chaos::simnet::{self, HostConfig, NetConfig, SimBuilder};
use std::{cell::RefCell, io, pin::Pin, rc::Rc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    task::{JoinHandle, LocalSet},
};

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A kind of sockets.
pub trait Net: Copy + 'static {
    type Listener: 'static;
    type Stream: AsyncRead + AsyncWrite + Unpin + 'static;
    async fn bind(addr: &str) -> io::Result<Self::Listener>;
    async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream>;
    async fn connect(addr: &str) -> io::Result<Self::Stream>;
    fn ports(stream: &Self::Stream) -> (u16, u16);
    fn split(stream: Self::Stream) -> (Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>);

    /// Connects as soon as the server listens.
    async fn dial(addr: &str) -> Self::Stream {
        for _ in 0..500 {
            match Self::connect(addr).await {
                Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {
                    tokio::time::sleep(ms(5)).await
                }
                other => return other.unwrap(),
            }
        }
        panic!("nothing listens on {addr}");
    }
}

macro_rules! sockets {
    ($name:ident, $net:path) => {
        #[derive(Clone, Copy)]
        pub struct $name;

        impl Net for $name {
            type Listener = <Self as Types>::L;
            type Stream = <Self as Types>::S;

            async fn bind(addr: &str) -> io::Result<Self::Listener> {
                Self::Listener::bind(addr).await
            }
            async fn accept(listener: &Self::Listener) -> io::Result<Self::Stream> {
                Ok(listener.accept().await?.0)
            }
            async fn connect(addr: &str) -> io::Result<Self::Stream> {
                Self::Stream::connect(addr).await
            }
            fn ports(stream: &Self::Stream) -> (u16, u16) {
                (
                    stream.local_addr().unwrap().port(),
                    stream.peer_addr().unwrap().port(),
                )
            }
            fn split(
                stream: Self::Stream,
            ) -> (Box<dyn AsyncRead + Unpin>, Box<dyn AsyncWrite + Unpin>) {
                let (read, write) = stream.into_split();
                (Box::new(read), Box::new(write))
            }
        }

        const _: () = {
            use $net as net;
            impl Types for $name {
                type L = net::TcpListener;
                type S = net::TcpStream;
            }
        };
    };
}

/// The concrete types behind an arm.
pub trait Types {
    type L;
    type S;
}

sockets!(Real, tokio::net);
sockets!(Sim, chaos::simnet);
sockets!(Stock, turmoil::net);

/// What a client may do to the server's process.
pub struct Env {
    pub addr: String,
    kill: Box<dyn Fn()>,
    boot: Box<dyn Fn()>,
}

impl Env {
    pub async fn kill_server(&self) {
        (self.kill)();
        tokio::time::sleep(ms(50)).await;
    }

    pub fn boot_server(&self) {
        (self.boot)();
    }
}

type Future0 = Pin<Box<dyn Future<Output = ()>>>;

/// A behaviour: what the server does at each boot, and what the client sees.
pub trait Behaviour: 'static {
    /// `addr` is where to listen.
    fn server<N: Net>(addr: String) -> impl Future<Output = ()> + 'static;
    fn client<N: Net>(env: Env) -> impl Future<Output = String> + 'static;
}

pub fn real<B: Behaviour>() -> String {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // A port that was free a moment ago; the behaviours bind and rebind it themselves.
    let addr = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .to_string();
    let tasks = LocalSet::new();
    let server: Rc<RefCell<Option<JoinHandle<()>>>> = Rc::default();
    let start: Rc<dyn Fn()> = {
        let (server, addr) = (server.clone(), addr.clone());
        Rc::new(move || {
            *server.borrow_mut() = Some(tokio::task::spawn_local(Box::pin(B::server::<Real>(
                addr.clone(),
            )) as Future0))
        })
    };
    let kill = move || {
        if let Some(task) = server.borrow_mut().take() {
            task.abort();
        }
    };
    let boot = start.clone();
    let env = Env {
        addr,
        kill: Box::new(kill),
        boot: Box::new(move || boot()),
    };
    tasks.block_on(&runtime, async move {
        start();
        tokio::time::timeout(Duration::from_secs(20), B::client::<Real>(env))
            .await
            .expect("the real arm hangs")
    })
}

pub fn sim<B: Behaviour>() -> String {
    let result: Rc<RefCell<Option<String>>> = Rc::default();
    let slot = result.clone();
    SimBuilder::new(NetConfig {
        time_limit: Duration::from_secs(3600),
        ..NetConfig::new(11)
    })
    .host("server", HostConfig::default(), |_| {
        B::server::<Sim>("0.0.0.0:80".into())
    })
    .host(
        "client",
        HostConfig::default(),
        move |ctx: simnet::HostCtx| {
            let slot = slot.clone();
            let (killer, booter) = (ctx.sim.clone(), ctx.sim.clone());
            let kill = Box::new(move || killer.kill("server"));
            let boot = Box::new(move || booter.boot("server"));
            async move {
                let value = B::client::<Sim>(Env {
                    addr: "server:80".into(),
                    kill,
                    boot,
                })
                .await;
                *slot.borrow_mut() = Some(value);
            }
        },
    )
    .run(|sim| async move {
        while sim.is_up("client") {
            tokio::time::sleep(ms(1)).await;
        }
    })
    .unwrap();
    result.take().unwrap()
}

pub fn stock<B: Behaviour>() -> String {
    let result: Rc<RefCell<Option<String>>> = Rc::default();
    let slot = result.clone();
    let mut sim = turmoil::Builder::new()
        .simulation_duration(Duration::from_secs(60))
        .tcp_capacity(4096)
        .build();
    sim.host("server", || async {
        B::server::<Stock>("0.0.0.0:80".into()).await;
        std::future::pending::<()>().await;
        Ok(())
    });
    sim.client("client", async move {
        let none = || {
            Box::new(|| -> () { panic!("stock turmoil kills hosts only from outside") })
                as Box<dyn Fn()>
        };
        let value = B::client::<Stock>(Env {
            addr: "server:80".into(),
            kill: none(),
            boot: none(),
        })
        .await;
        *slot.borrow_mut() = Some(value);
        Ok(())
    });
    sim.run().unwrap();
    result.take().unwrap()
}
