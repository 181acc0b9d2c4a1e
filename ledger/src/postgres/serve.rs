//! Serves the router on a socket until it is told to stop: then it takes no new connections, and those open finish their request.

use std::{future::Future, io, pin::pin, sync::Arc, time::Duration};

use hyper::server::conn::http1;
use hyper_util::{rt::TokioIo, service::TowerToHyperService};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use crate::App;

/// How long requests under way may take to end.
const DRAIN: Duration = Duration::from_secs(10);

/// Starts the loops and serves until `stop` ends, then shuts down in order.
///
/// # Errors
/// The listener failed.
pub async fn serve(
    app: Arc<App>,
    listener: TcpListener,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    app.start();
    let router = app.router();
    let stopping = watch::Sender::new(false);
    let mut connections = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        let stream = tokio::select! {
            biased;
            () = &mut stop => break,
            // Forget connections that have ended.
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) if passing(&error) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        connections.spawn(connection(router.clone(), stream, stopping.subscribe()));
    }
    app.begin_shutdown();
    drop(listener);
    stopping.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    // What is not done by then is cut off with the process.
    let _ = tokio::time::timeout(DRAIN, drained).await;
    Ok(())
}

async fn connection(router: axum::Router, stream: TcpStream, mut stopping: watch::Receiver<bool>) {
    // Answers are small: send them at once. A socket that refuses this is closed already.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(router);
    let mut serving = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
    let stop = async {
        // An error means that the server is gone.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    tokio::select! {
        biased;
        // A client that goes away in the middle is its own affair.
        _ = serving.as_mut() => return,
        () = stop => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Errors of one connection, or of a moment without file descriptors: not of the listener.
fn passing(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    // 23 and 24: too many open files, in the system and in the process.
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionReset | Interrupted
    ) || matches!(error.raw_os_error(), Some(23 | 24))
}
