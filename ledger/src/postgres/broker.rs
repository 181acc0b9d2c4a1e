//! A broker that writes each event as one line of ECS JSON to stdout, where a log shipper picks it up. Events of one key keep their
//! order. It is the only real broker so far.

use std::{
    io::{self, Write},
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::json;

use crate::ports::{BoxFuture, Broker, BrokerError, Clock, Message};

/// Writes events as lines.
pub struct LogBroker {
    clock: Arc<dyn Clock>,
    out: Mutex<Box<dyn Write + Send>>,
}

impl LogBroker {
    /// Writes to stdout.
    pub fn stdout(clock: Arc<dyn Clock>) -> Self {
        Self::to(clock, Box::new(io::stdout()))
    }

    /// Writes to `out`.
    pub fn to(clock: Arc<dyn Clock>, out: Box<dyn Write + Send>) -> Self {
        Self {
            clock,
            out: Mutex::new(out),
        }
    }

    fn write(&self, messages: &[Message]) -> io::Result<()> {
        let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
        for message in messages {
            let line = json!({
                "@timestamp": self.clock.now(),
                "ecs.version": "8.11.0",
                "event": { "kind": "event", "action": message.subject, "id": message.id.to_string() },
                "organization": { "id": message.tenant },
                "labels": { "ordering_key": message.ordering_key },
                "message": message.payload,
            });
            writeln!(out, "{line}")?;
        }
        out.flush()
    }
}

impl Broker for LogBroker {
    fn publish<'a>(&'a self, messages: &'a [Message]) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.write(messages)
                .map_err(|error| BrokerError(error.to_string()))
        })
    }
}
