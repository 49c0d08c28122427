// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0

//! The terminal: text that is drawn over and over, until a key ends it.

use std::io::{self, stdout, Write};
use std::time::{Duration, Instant};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::event::{poll, read, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use crossterm::style::Print;
use crossterm::terminal::{
    disable_raw_mode, enable_raw_mode, size, Clear, ClearType, EnterAlternateScreen,
    LeaveAlternateScreen,
};
use crossterm::{execute, queue};

/// The terminal while it is ours; as it was before, when dropped.
pub(crate) struct Screen;

impl Screen {
    /// Takes the terminal.
    pub(crate) fn enter() -> io::Result<Self> {
        enable_raw_mode()?;
        let screen = Self;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        Ok(screen)
    }

    /// Shows as much of the text as fits.
    pub(crate) fn draw(&mut self, text: &str) -> io::Result<()> {
        let (width, height) = size()?;
        let mut terminal = stdout().lock();
        queue!(terminal, MoveTo(0, 0))?;
        for (number, line) in text.lines().take(height.into()).enumerate() {
            let line: String = line.chars().take(width.into()).collect();
            queue!(
                terminal,
                MoveTo(0, number as u16),
                Clear(ClearType::CurrentLine),
                Print(line)
            )?;
        }
        queue!(terminal, Clear(ClearType::FromCursorDown))?;
        terminal.flush()
    }

    /// Waits; false when the user wants to leave.
    pub(crate) fn wait(&mut self, time: Duration) -> io::Result<bool> {
        let end = Instant::now() + time;
        while poll(end.saturating_duration_since(Instant::now()))? {
            if is_end(&read()?) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // A terminal that is gone needs no restoring.
        let _ = execute!(stdout(), Show, LeaveAlternateScreen);
        let _ = disable_raw_mode();
    }
}

fn is_end(event: &Event) -> bool {
    let Event::Key(KeyEvent {
        code,
        modifiers,
        kind: KeyEventKind::Press,
        ..
    }) = event
    else {
        return false;
    };
    match code {
        KeyCode::Char('q') | KeyCode::Esc => true,
        KeyCode::Char('c') => modifiers.contains(KeyModifiers::CONTROL),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn q_escape_and_control_c_leave() {
        let key = |code, modifiers| Event::Key(KeyEvent::new(code, modifiers));
        let none = KeyModifiers::NONE;
        assert!(is_end(&key(KeyCode::Char('q'), none)));
        assert!(is_end(&key(KeyCode::Esc, none)));
        assert!(is_end(&key(KeyCode::Char('c'), KeyModifiers::CONTROL)));
        assert!(!is_end(&key(KeyCode::Char('c'), none)));
        assert!(!is_end(&Event::Resize(80, 25)));
    }
}
