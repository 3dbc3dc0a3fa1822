//! The terminal while `freestone top` draws on it: put back as it was when dropped.

use std::io::{self, Write};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, EndSynchronizedUpdate, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};

use super::view::Row;

/// What the user wants.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Quit,
    Release,
    Sort,
    Pause,
    /// Draw again: the window has another size.
    Redraw,
    /// Nothing was pressed in time.
    None,
}

/// The terminal.
pub struct Screen {
    coloured: bool,
}

impl Screen {
    /// Takes the terminal over.
    pub fn new(coloured: bool) -> io::Result<Screen> {
        terminal::enable_raw_mode()?;
        let screen = Screen { coloured };
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Columns and lines.
    pub fn size(&self) -> (usize, usize) {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        (usize::from(columns), usize::from(lines))
    }

    /// Draws the rows, and a line at the bottom.
    pub fn draw(&self, rows: &[Row], bottom: &str) -> io::Result<()> {
        let (width, height) = self.size();
        let mut out = io::stdout().lock();
        queue!(out, BeginSynchronizedUpdate)?;
        for line in 0..height.saturating_sub(1) {
            let text = rows.get(line).map(|row| row.render(width, self.coloured)).unwrap_or_default();
            queue!(out, MoveTo(0, line as u16), Print(text), Clear(ClearType::UntilNewLine))?;
        }
        let bottom: String = bottom.chars().take(width).collect();
        queue!(
            out,
            MoveTo(0, height.saturating_sub(1) as u16),
            Print(bottom),
            Clear(ClearType::UntilNewLine)
        )?;
        queue!(out, EndSynchronizedUpdate)?;
        out.flush()
    }

    /// Waits for a key, at most so long.
    pub fn wish(&self, wait: Duration) -> io::Result<Wish> {
        let until = Instant::now() + wait;
        loop {
            if !event::poll(until.saturating_duration_since(Instant::now()))? {
                return Ok(Wish::None);
            }
            match event::read()? {
                Event::Resize(..) => return Ok(Wish::Redraw),
                Event::Key(key) if key.kind != KeyEventKind::Release => {
                    let control = key.modifiers.contains(KeyModifiers::CONTROL);
                    match key.code {
                        KeyCode::Char('c') if control => return Ok(Wish::Quit),
                        KeyCode::Char('q') | KeyCode::Esc => return Ok(Wish::Quit),
                        KeyCode::Char('r') => return Ok(Wish::Release),
                        KeyCode::Char('s') => return Ok(Wish::Sort),
                        KeyCode::Char('p' | ' ') => return Ok(Wish::Pause),
                        _ => {}
                    }
                }
                _ => {}
            }
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // There is nobody to tell.
        let _ = execute!(io::stdout(), Show, LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}
