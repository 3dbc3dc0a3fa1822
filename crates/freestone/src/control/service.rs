//! The serving side: a shared page that is kept fresh, and a socket that is answered without ever waiting for anybody.
//!
//! One request a connection: a line, at most [`LONGEST`] bytes. At most [`CLIENTS`] are served at a time, the others wait in the
//! kernel's queue. Who has not sent its line or taken its reply after [`PATIENCE_NS`] is hung up on.

use core::ffi::c_int;

use freestone_base::live;
use freestone_sys::linux::shared::{SharedWords, effective_user};
use freestone_sys::linux::socket::{
    Interest, Listener, Readiness, Stream, Transfer, is_served, own_descriptors,
};
use freestone_sys::linux::{self, Errno};

use super::commands;
use super::page::Page;
use super::place::{Files, RuntimeDirectory};
use super::reply::Reply;
use super::trouble::Trouble;

/// The longest request.
const LONGEST: usize = 256;
/// Connections served at a time.
const CLIENTS: usize = 4;
/// How long a client may take for its request, and again for taking the reply.
const PATIENCE_NS: u64 = 5_000_000_000;
/// A shared page that is younger is fresh enough, whoever asks.
const FRESH_NS: u64 = 100_000_000;

/// All that is open. Used by one thread, the one that opened it.
pub(super) struct Service {
    page: SharedWords,
    listener: Listener,
    ready: Readiness,
    clients: [Option<Client>; CLIENTS],
    user: u32,
    updated_ns: u64,
}

impl Service {
    /// Opens page and socket, for the calling thread, which loses all its other descriptors. The files are to be removed
    /// at the end.
    pub(super) fn open(runtime: &RuntimeDirectory, now_ns: u64) -> Result<(Service, Files), Trouble> {
        // First of all, so that nothing here opens or closes a number of the program's.
        if !own_descriptors() {
            return Err(Trouble::Descriptors);
        }
        let files = Files::prepare(runtime, linux::process_id()).map_err(Trouble::Directory)?;
        if is_served(files.socket.as_c()) {
            return Err(Trouble::Taken);
        }
        // What lies there was left behind by a process that did not come to remove it.
        files.remove();
        let page = SharedWords::create(files.page.as_c(), live::WORDS).map_err(Trouble::Page)?;
        let sockets = Listener::bind(files.socket.as_c()).and_then(|listener| {
            let ready = Readiness::new()?;
            ready.watch_listener(&listener, Interest::Arrival)?;
            Ok((listener, ready))
        });
        match sockets {
            Ok((listener, ready)) => {
                Page(page.words()).begin(now_ns);
                let clients = [const { None }; CLIENTS];
                let user = effective_user();
                Ok((Service { page, listener, ready, clients, user, updated_ns: now_ns }, files))
            }
            Err(error) => {
                files.remove();
                Err(Trouble::Socket(error))
            }
        }
    }

    /// The descriptor that is ready for reading when there is something to do.
    pub(super) fn descriptor(&self) -> c_int {
        self.ready.number()
    }

    /// Does what can be done now, without waiting.
    pub(super) fn serve(&mut self, now_ns: u64) {
        if now_ns.saturating_sub(self.updated_ns) >= FRESH_NS {
            self.updated_ns = now_ns;
            Page(self.page.words()).update(now_ns);
        }
        let page = Page(self.page.words());
        let mut refused = false;
        for place in &mut self.clients {
            if place.is_none() && !refused {
                match admit(&self.listener, &self.ready, self.user, now_ns) {
                    Ok(client) => *place = client,
                    Err(_) => refused = true,
                }
            }
            if let Some(client) = place
                && !client.advance(&page, &self.ready, now_ns)
            {
                *place = None;
            }
        }
        let full = self.clients.iter().all(Option::is_some);
        // A connection for which there is no descriptor would make the listener ready until there is one; it is tried again at the
        // next tick, or when a client's turn comes.
        let interest = if full || refused { Interest::Nothing } else { Interest::Arrival };
        // Refused only where the kernel has no memory; then a client waits for the next tick.
        let _ = self.ready.watch_listener(&self.listener, interest);
    }
}

/// The next connection of somebody who may ask: the user himself, or root. The error where one waits and cannot be had.
fn admit(listener: &Listener, ready: &Readiness, user: u32, now_ns: u64) -> Result<Option<Client>, Errno> {
    let Some(stream) = listener.accept()? else { return Ok(None) };
    let may_ask = stream.peer_user().is_some_and(|peer| peer == user || peer == 0);
    if !may_ask || ready.watch_stream(&stream, Interest::Arrival).is_err() {
        return Ok(None);
    }
    let until_ns = now_ns + PATIENCE_NS;
    Ok(Some(Client { stream, until_ns, line: [0; LONGEST], len: 0, reply: None, sent: 0 }))
}

/// A connection and how far it has come.
struct Client {
    stream: Stream,
    until_ns: u64,
    /// What has arrived of the request.
    line: [u8; LONGEST],
    len: usize,
    /// The reply, once the request is whole, and how much of it was taken.
    reply: Option<Reply>,
    sent: usize,
}

/// How far a request has arrived.
enum Arrival {
    NotYet,
    Whole,
    TooLong,
    /// The client left without a word.
    Never,
}

impl Client {
    /// Goes as far as it can; false when the connection is to be closed.
    fn advance(&mut self, page: &Page<'_>, ready: &Readiness, now_ns: u64) -> bool {
        if self.reply.is_none() {
            let arrival = self.receive();
            if matches!(arrival, Arrival::NotYet) {
                return now_ns < self.until_ns;
            }
            let Some(mut reply) = Reply::new() else { return false };
            match arrival {
                Arrival::Whole => commands::answer(self.request(), page, &mut reply),
                Arrival::TooLong => {
                    reply.fail(format_args!("the request is longer than {LONGEST} bytes"));
                    self.stream.forget_arrived();
                }
                Arrival::NotYet | Arrival::Never => return false,
            }
            reply.finish();
            self.reply = Some(reply);
            self.until_ns = linux::monotonic_ns() + PATIENCE_NS;
        }
        self.send(ready, now_ns)
    }

    /// Takes what has arrived. The end of the stream ends a line, too.
    fn receive(&mut self) -> Arrival {
        loop {
            let Some(room) = self.line.get_mut(self.len..).filter(|room| !room.is_empty()) else {
                return Arrival::TooLong;
            };
            match self.stream.receive(room) {
                Transfer::Done(bytes) => self.len += bytes,
                Transfer::NotNow => return Arrival::NotYet,
                Transfer::Ended if self.len == 0 => return Arrival::Never,
                Transfer::Ended => return Arrival::Whole,
            }
            if self.line.iter().take(self.len).any(|&byte| byte == b'\n') {
                return Arrival::Whole;
            }
        }
    }

    /// The first line of what has arrived.
    fn request(&self) -> &[u8] {
        let arrived = self.line.get(..self.len).unwrap_or_default();
        arrived.split(|&byte| byte == b'\n').next().unwrap_or_default()
    }

    /// Sends as much of the reply as there is room for; false when that was the end.
    fn send(&mut self, ready: &Readiness, now_ns: u64) -> bool {
        let Some(reply) = &self.reply else { return true };
        loop {
            let rest = reply.rest(self.sent);
            if rest.is_empty() {
                return false;
            }
            match self.stream.send(rest) {
                Transfer::Done(bytes) => self.sent += bytes,
                Transfer::Ended => return false,
                Transfer::NotNow => {
                    let watched = ready.watch_stream(&self.stream, Interest::Room);
                    return watched.is_ok() && now_ns < self.until_ns;
                }
            }
        }
    }
}
