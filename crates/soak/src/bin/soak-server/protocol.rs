//! Frames: a length, a code, a client, a key, and a body.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use std::io;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a client asks for; the first byte of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum Code {
    /// Answer with the body.
    Echo,
    /// Store the body.
    Set,
    /// Append the body to what is stored.
    Append,
    /// Answer with what is stored.
    Get,
    /// Forget what is stored and answer with it.
    Delete,
    /// Answer with the client's keys and the lengths of their values as text, in order.
    List,
    /// Answer with the body's words in order.
    Sort,
}

impl Code {
    const ALL: [Code; 7] =
        [Code::Echo, Code::Set, Code::Append, Code::Get, Code::Delete, Code::List, Code::Sort];
}

/// A request.
#[derive(Debug)]
pub struct Request {
    pub code: Code,
    pub client: u32,
    pub key: u32,
    pub body: Bytes,
}

/// Bytes of a request before its body, the length included.
const HEADER: usize = 4 + 1 + 4 + 4;
/// No frame is longer than this.
const LONGEST: usize = 16 << 20;

impl Request {
    /// The request as it goes over the wire.
    pub fn encode(&self) -> BytesMut {
        let mut frame = BytesMut::with_capacity(HEADER + self.body.len());
        frame.put_u32((HEADER - 4 + self.body.len()) as u32);
        frame.put_u8(self.code as u8);
        frame.put_u32(self.client);
        frame.put_u32(self.key);
        frame.put_slice(&self.body);
        frame
    }

    /// Reads a request; the body shares the frame's memory.
    pub fn decode(mut frame: Bytes) -> io::Result<Request> {
        if frame.len() < HEADER - 4 {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let code = Code::ALL.get(frame.get_u8() as usize).ok_or(io::ErrorKind::InvalidData)?;
        Ok(Request { code: *code, client: frame.get_u32(), key: frame.get_u32(), body: frame })
    }
}

/// Reads one frame without its length; `None` when the other side is done.
pub async fn read_frame(stream: &mut TcpStream) -> io::Result<Option<Bytes>> {
    let len = match stream.read_u32().await {
        Ok(len) => len as usize,
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    };
    if len > LONGEST {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut frame = BytesMut::zeroed(len);
    stream.read_exact(&mut frame).await?;
    Ok(Some(frame.freeze()))
}

/// Writes an answer.
pub async fn write_answer(stream: &mut TcpStream, body: &[u8]) -> io::Result<()> {
    stream.write_u32(body.len() as u32).await?;
    stream.write_all(body).await
}
