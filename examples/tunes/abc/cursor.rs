//! A line of music, read from left to right.

/// A line of music, and where reading it stands.
pub struct Line {
    pub chars: Vec<char>,
    pub at: usize,
}

impl Line {
    /// At the beginning of `text`.
    pub fn new(text: &str) -> Line {
        Line { chars: text.chars().collect(), at: 0 }
    }

    pub fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    /// Goes on by a character if that is `c`.
    pub fn eat(&mut self, c: char) -> bool {
        let found = self.peek() == Some(c);
        self.at += usize::from(found);
        found
    }

    /// How often `c` comes here.
    pub fn count(&mut self, c: char) -> u32 {
        let start = self.at;
        while self.eat(c) {}
        (self.at - start) as u32
    }

    /// A number of at most four digits.
    pub fn number(&mut self) -> Option<u64> {
        let start = self.at;
        while self.at < start + 4 && self.peek().is_some_and(|c| c.is_ascii_digit()) {
            self.at += 1;
        }
        self.chars[start..self.at].iter().collect::<String>().parse().ok()
    }

    /// Numerator and denominator of a length.
    pub fn length(&mut self) -> [u64; 2] {
        let n = self.number().unwrap_or(1);
        let slashes = self.count('/').min(16);
        match self.number().filter(|_| slashes > 0) {
            Some(d) => [n, d << (slashes - 1)],
            None => [n, 1 << slashes],
        }
    }

    /// The numbers of an ending: `1`, `1,3` or `1-3`.
    pub fn endings(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut range = false;
        while let Some(digit) = self.peek().and_then(|c| c.to_digit(10)) {
            self.at += 1;
            let from =
                if range { all.last().map_or(digit as u8, |&last: &u8| last + 1) } else { digit as u8 };
            all.extend(from..=digit as u8);
            range = self.peek() == Some('-');
            let more = matches!(self.peek(), Some(',' | '-'));
            let digit = self.chars.get(self.at + 1).is_some_and(char::is_ascii_digit);
            if !(more && digit) {
                break;
            }
            self.at += 1;
        }
        all
    }
}
